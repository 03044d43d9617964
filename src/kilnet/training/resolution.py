"""Training on smaller images first, since a step on half the side costs a quarter."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from kilnet import models
from kilnet.config import RunConfig
from kilnet.errors import ModelError


def size_at(
    low_resolution: Sequence[tuple[float, float]], progress: float, height: int, width: int
) -> tuple[int, int]:
    """Return the (height, width) in pixels that images are trained on.

    Args:
        low_resolution: pairs as in `TrainingConfig.low_resolution`.
        progress: how much of the run is done, 0 to 1.
        height, width: of the images as they are.
    """
    factor = next((factor for until, factor in low_resolution if progress < until), 1.0)
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


def refuse_other_sizes(
    model: nn.Module, config: RunConfig, image_shape: tuple[int, int, int], num_classes: int
) -> None:
    """Refuse a run at low resolutions of which its network, on the CPU, does not take one.

    `image_shape` is (channels, height, width) of the images as they are.

    Raises:
        ModelError: it names the setting and the size.
    """
    channels, height, width = image_shape
    for _, factor in config.training.low_resolution:
        size = size_at([(1.0, factor)], 0.0, height, width)
        try:
            models.verify_shapes(model, config.model.name, (channels, *size), num_classes)
        except ModelError as error:
            raise ModelError(f"training.low_resolution: {error}") from None
