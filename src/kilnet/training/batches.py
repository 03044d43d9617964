"""Images on the device, and the batches in which an epoch takes them."""

import numpy as np
import torch
from torch import Tensor

from kilnet.data.dataset import Split
from kilnet.hardware import Settings
from kilnet.seeding import generator


def on_device(split: Split, settings: Settings) -> tuple[Tensor, Tensor]:
    """Return images, uint8 (num_images, channels, height, width), and labels, int64 (num_images,)."""
    images = torch.from_numpy(np.require(split.images, requirements=["C", "W"])).to(settings.device)
    return images, torch.from_numpy(split.labels.astype(np.int64)).to(settings.device)


def shuffled_batches(labels: Tensor, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Return the indices of each batch of an epoch, int64, where the labels are; seed and epoch decide the order.

    A last batch of a single image joins the one before, since batch norm needs two.
    """
    order = torch.from_numpy(generator(seed, "shuffle", epoch).permutation(len(labels)))
    batches = list(torch.split(order.to(labels.device), batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches
