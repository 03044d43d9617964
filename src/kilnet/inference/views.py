"""Several views of an image where one leaves the network unsure."""

import torch
from torch import Tensor, nn

from kilnet.config import ViewsConfig
from kilnet.data.geometry import shift
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.inference import forward


def logits(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings, views: ViewsConfig
) -> Tensor:
    """Run a network in evaluation mode; where it is unsure, average its logits over further views.

    The views are the image, its mirror image (`mirror`), and both moved up and left, and down and right (`shift_px`;
    what comes in is mirrored). Those that are not moved together weigh as much as those that are (Jordan, 2024,
    arXiv 2404.00498, section 3.5). An image gets further views where the first one leaves less than `margin`
    between the two highest probabilities.

    Args:
        model, pixels, preprocessing, settings: as for `forward.shared_logits`.
        views: which, and when.

    Returns:
        float32 (num_images, num_classes) on the settings' device.
    """
    result = forward.shared_logits(model, pixels, preprocessing, settings)
    if not has_more(views):
        return result
    unsure = is_unsure(result, views).nonzero()[:, 0]
    if len(unsure):
        first, others = result[unsure], further(pixels[unsure.to(pixels.device)], views)
        logits = forward.shared_logits(model, others, preprocessing, settings)
        result[unsure] = mean(torch.cat([first, logits]).view(-1, *first.shape), views)
    return result


def steady(views: ViewsConfig) -> ViewsConfig:
    """Return the views by which unknown pictures are told: the same for every picture.

    The image and its mirror image, which cost a third of all six and give most of what these do; without a mirror
    image all that there are.
    """
    return views.model_copy(update={"margin": 1.0, "shift_px": 0 if views.mirror else views.shift_px})


def has_more(views: ViewsConfig) -> bool:
    """Whether there are views beside the image itself."""
    return views.mirror or views.shift_px > 0


def is_unsure(logits: Tensor, views: ViewsConfig) -> Tensor:
    """Return which images get further views: bool (num_images,), from logits (num_images, num_classes)."""
    first, second = logits.softmax(1).topk(2, dim=1).values.unbind(1)
    return first - second < views.margin


def further(images: Tensor, views: ViewsConfig) -> Tensor:
    """Return all views but the image itself, one after another.

    Args:
        images: uint8 or float32 (num_images, channels, height, width).
        views: which; there is more than the image itself.

    Returns:
        (num_views * num_images, channels, height, width).
    """
    moved = []
    if views.shift_px:
        by = torch.full((images.shape[0],), views.shift_px, device=images.device)
        moved = [shift(images, way, way, "mirror") for way in (-by, by)]
    if views.mirror:
        return torch.cat([images.flip(3), *moved, *(view.flip(3) for view in moved)])
    return torch.cat(moved)


def mean(logits: Tensor, views: ViewsConfig) -> Tensor:
    """Return the weighted mean over views: (1 + num_views, num_images, num_classes) -> (num_images, num_classes)."""
    num_still = 2 if views.mirror else 1
    still = logits[:num_still].mean(0)
    return (still + logits[num_still:].mean(0)) / 2 if views.shift_px else still
