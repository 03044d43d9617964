"""A split where it is computed with: on the device, or, where it does not fit into memory, in a mapped file."""

import numpy as np
import torch
from torch import Tensor

from kilnet.data.dataset import Split
from kilnet.data.mapped_images import read_ahead
from kilnet.hardware import Settings


class DeviceSplit:
    """Images, labels and weights of a split as tensors on the settings' device.

    Attributes:
        images: uint8 (num_images, channels, height, width).
        labels: int64 (num_images,).
        weights: how much each image counts, float32 (num_images,), 1 on average; None, all alike.
    """

    def __init__(self, split: Split, settings: Settings) -> None:
        stored = np.require(split.images, requirements=["C", "W"])
        weights = split.relative_weights
        self.images = torch.from_numpy(stored).to(settings.device)
        self.labels = torch.from_numpy(split.labels.astype(np.int64)).to(settings.device)
        self.weights = None if weights is None else torch.from_numpy(weights).to(settings.device)
        self._stored = stored if self.images.device.type == "cpu" else None

    def __len__(self) -> int:
        return len(self.labels)

    def expect(self, indices: Tensor) -> None:
        """Say which images come next: those in a file are read while other images are computed with."""
        if self._stored is not None:
            read_ahead(self._stored, indices.numpy())

    def take(self, indices: Tensor) -> Tensor:
        """Return the images at `indices`, int64 (num,), in that order."""
        self.expect(indices)
        return self.images[indices]
