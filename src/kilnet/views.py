"""Several views of an image where one leaves the network unsure."""

import torch
from torch import Tensor, nn

from kilnet import inference
from kilnet.config import ViewsConfig
from kilnet.data.geometry import shift
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings


def logits(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings, views: ViewsConfig
) -> Tensor:
    """Run a network in evaluation mode; where it is unsure, average its logits over further views.

    The views are the image, its mirror image (`mirror`), and both moved up and left, and down and right (`shift_px`;
    what comes in is mirrored). Those that are not moved together weigh as much as those that are (Jordan, 2024,
    arXiv 2404.00498, section 3.5). An image gets further views where the first one leaves less than `margin`
    between the two highest probabilities.

    Args:
        model, pixels, preprocessing, settings: as for `inference.logits`.
        views: which, and when.

    Returns:
        float32 (num_images, num_classes) on the settings' device.
    """
    result = inference.logits(model, pixels, preprocessing, settings)
    if not views.mirror and not views.shift_px:
        return result
    first, second = result.softmax(1).topk(2, dim=1).values.unbind(1)
    unsure = (first - second < views.margin).nonzero()[:, 0]
    if len(unsure) == 0:
        return result
    images = pixels[unsure.to(pixels.device)]

    def seen(images: Tensor) -> Tensor:
        return inference.logits(model, images, preprocessing, settings)

    average = result[unsure]
    if views.mirror:
        average = (average + seen(images.flip(3))) / 2
    if views.shift_px:
        by = torch.full((len(images),), views.shift_px, device=images.device)
        moved = [shift(images, way, way, "mirror") for way in (-by, by)]
        if views.mirror:
            moved += [view.flip(3) for view in moved]
        average = (average + torch.stack([seen(view) for view in moved]).mean(0)) / 2
    result[unsure] = average
    return result
