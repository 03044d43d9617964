"""Training on smaller images first, since a step on half the side costs a quarter."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

Plan = Sequence[tuple[float, float]]


def size_at(plan: Plan, done: float, height: int, width: int) -> tuple[int, int]:
    """Return (height, width) in pixels at a moment of the run.

    Args:
        plan: pairs as in `TrainingConfig.low_resolution`.
        done: part of the run that is done, 0 to 1.
        height, width: of the images as they are.
    """
    factor = next((factor for until, factor in plan if done < until), 1.0)
    return max(1, round(height * factor)), max(1, round(width * factor))


def shrink(pixels: Tensor, height: int, width: int) -> Tensor:
    """Scale images down bilinearly, over all pixels that one of the smaller image covers.

    Args:
        pixels: uint8 or float32 (num_images, channels, height, width).
        height, width: wanted; images of that size are returned as they are.

    Returns:
        float32 (num_images, channels, height, width), or `pixels`.
    """
    if pixels.shape[2:] == (height, width):
        return pixels
    return F.interpolate(pixels.float(), (height, width), mode="bilinear", antialias=True)
