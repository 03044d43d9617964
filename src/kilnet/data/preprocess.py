"""From stored uint8 pixels to what a network sees."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kilnet.data.dataset import ImageDataset


@dataclass(frozen=True)
class Preprocessing:
    """Normalisation by channel; kept beside the weights, so that use is as in training.

    Attributes:
        mean, std: one a channel, in pixel values divided by 255.
        image_size: (height, width) in pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: tuple[int, int]

    @classmethod
    def fit(cls, dataset: ImageDataset) -> "Preprocessing":
        """Take mean and standard deviation of each channel over the training images; a constant channel gets std 1."""
        images = dataset.train.images
        # Exact sums over a histogram: no rounding, no float copy of the data set.
        values = np.arange(256) / 255
        mean, std = [], []
        for channel in range(images.shape[1]):
            counts = np.bincount(images[:, channel].reshape(-1), minlength=256)
            average = float(counts @ values / counts.sum())
            spread = float(np.sqrt(counts @ (values - average) ** 2 / counts.sum()))
            mean.append(average)
            std.append(spread or 1.0)
        _, height, width = dataset.image_shape
        return cls(tuple(mean), tuple(std), (height, width))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise pixel values.

        Args:
            pixels: uint8 or float32 (num_images, channels, height, width), 0 to 255.

        Returns:
            float32, same shape and memory order; mean 0 and deviation 1 a channel over the training images.
        """
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=pixels.device).view(1, -1, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=pixels.device)
        return pixels.float().mul_(scale).add_(shift.view(1, -1, 1, 1)) if pixels.dtype == torch.uint8 else (
            pixels * scale + shift.view(1, -1, 1, 1)
        )
