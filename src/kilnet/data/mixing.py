"""Two training images become one: mixup and cutmix."""

import math

import torch
from torch import Tensor

from kilnet.config import AugmentConfig
from kilnet.seeding import generator


def mixes(config: AugmentConfig) -> bool:
    """Whether training images are mixed."""
    return config.mixup > 0 or config.cutmix > 0


def mixed(pixels: Tensor, targets: Tensor, config: AugmentConfig, seed: int) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with the one that comes as far from its other end.

    Batches are in random order, so that partners are random too. A share is drawn for the batch, from a beta
    distribution. Mixup adds pixels in that proportion (Zhang et al., 2018, arXiv 1710.09412), cutmix puts a rectangle
    of the partner over the image (Yun et al., 2019, arXiv 1905.04899).

    Args:
        pixels: uint8 or float32 (num_images, channels, height, width).
        targets: float32 (num_images, any number), such as the share of each class.
        config: with `mixup` or `cutmix` above 0.
        seed: of this step.

    Returns:
        Pixels and targets, float32, of the same shapes.
    """
    stream = generator(seed, "mixing")
    adds = config.mixup > 0 and (config.cutmix == 0 or stream.random() < 0.5)
    concentration = config.mixup if adds else config.cutmix
    share = float(stream.beta(concentration, concentration))
    pixels = pixels.float()
    partners = pixels.flip(0)
    if adds:
        pixels = torch.lerp(partners, pixels, share)
    else:
        height, width = pixels.shape[2:]
        rows, columns = (round(side * math.sqrt(1 - share)) for side in (height, width))
        top, left = (
            int(stream.integers(0, free, endpoint=True)) for free in (height - rows, width - columns)
        )
        pixels = pixels.clone()
        inside = slice(top, top + rows), slice(left, left + columns)
        pixels[:, :, inside[0], inside[1]] = partners[:, :, inside[0], inside[1]]
        share = 1 - rows * columns / (height * width)
    return pixels, torch.lerp(targets.flip(0), targets, share)
