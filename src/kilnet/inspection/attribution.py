"""Which parts of an image support a class: Grad-CAM and integrated gradients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.errors import InputError, ModelError, nearest
from kilnet.hardware import images_at_once
from kilnet.inference.classifier import Classifier
from kilnet.inspection.passes import black, hooked, map_layer, network_input, one_image, untouched

Target = str | int | None

_BATCH_SIZE = 64  # images in one backward pass
DEFAULT_STEPS = 50


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which parts of an image support one class.

    Attributes:
        target: the class.
        probability: its probability by the network, computed in fp32.
        grad_cam: float32 (height, width), 0 to 1; None if the network has no convolution.
        integrated_gradients: float32 (height, width), in logits.
    """

    target: str
    probability: float
    grad_cam: npt.NDArray[np.float32] | None
    integrated_gradients: npt.NDArray[np.float32]


def explain(
    classifier: Classifier, image: npt.NDArray[np.uint8], target: Target = None, steps: int = DEFAULT_STEPS
) -> Explanation:
    """Explain the logit of one class by both methods.

    Args:
        classifier: the network; it is unchanged afterwards.
        image: uint8 (channels, height, width).
        target: class by name or index; by default the predicted one.
        steps: of the integrated gradients.

    Raises:
        InputError: there is no such class, or `steps` is below 1.
        DataError: the image does not fit.
    """
    with untouched(classifier.model) as model, torch.no_grad():
        probabilities = model(network_input(classifier, one_image(image)))[0].softmax(0)
    label = int(probabilities.argmax()) if target is None else class_index(classifier, target)
    try:
        heat = grad_cam(classifier, image, label)
    except ModelError:  # no convolution
        heat = None
    return Explanation(
        target=classifier.classes[label],
        probability=float(probabilities[label]),
        grad_cam=heat,
        integrated_gradients=integrated_gradients(classifier, image, label, steps),
    )


def grad_cam(
    classifier: Classifier,
    image: npt.NDArray[np.uint8],
    target: Target = None,
    layer: str | int | None = None,
) -> npt.NDArray[np.float32]:
    """Return where in one image the network finds support for a class, as `grad_cams` does: float32 (height, width).

    Args:
        classifier, image, target: as for `explain`.
        layer: as for `grad_cams`.

    Raises:
        InputError, DataError, ModelError: as for `grad_cams`, or there is no such class.
    """
    targets = None if target is None else np.array([class_index(classifier, target)])
    heat: npt.NDArray[np.float32] = grad_cams(classifier, one_image(image), targets, layer)[0]
    return heat


def grad_cams(
    classifier: Classifier,
    images: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64] | None = None,
    layer: str | int | None = None,
) -> npt.NDArray[np.float32]:
    """Return Grad-CAM heat maps: a layer's channels, weighted by how much each raises the class's logit.

    Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    equations 1 and 2, scaled up bilinearly. Computed in fp32; the network is unchanged afterwards.

    Args:
        classifier: the network.
        images: uint8 (num_images, channels, height, width).
        targets: int64 (num_images,), class indices; by default the predicted ones.
        layer: name of a layer with output (num_images, channels, height, width), or number of a convolution. By
            default the last layer at the resolution of the last convolution, after the activation and, in a residual
            network, after the shortcut.

    Returns:
        float32 (num_images, height, width), 0 to 1. The largest value of a map is 1, or 0 if nothing in the image
        supports the class.

    Raises:
        InputError: there is no such layer, or its output is not a map of the image.
        DataError: the images do not fit.
        ModelError: the network has no convolution.
    """
    watched = map_layer(classifier, layer)
    size = images.shape[2:]
    maps = [np.zeros((0, *size), np.float32)]
    together = images_at_once(_BATCH_SIZE, *size)
    for start in range(0, len(images), together):
        part = slice(start, start + together)
        chosen = None if targets is None else targets[part]
        values, gradients = _with_gradients(classifier, watched, images[part], chosen)
        heat = F.relu((gradients.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True))
        heat = F.interpolate(heat, size, mode="bilinear", align_corners=False)[:, 0]
        largest = heat.amax((1, 2), keepdim=True)
        maps.append((heat / torch.where(largest > 0, largest, 1.0)).cpu().numpy())
    return np.concatenate(maps)


def integrated_gradients(
    classifier: Classifier, image: npt.NDArray[np.uint8], target: Target = None, steps: int = DEFAULT_STEPS
) -> npt.NDArray[np.float32]:
    """Return how much each pixel adds to the logit of a class, compared with a black image.

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", equation 3, by the midpoint rule.
    The baseline is the black image, as in the paper, so black pixels get 0. The gradients are those of the normalised
    image, summed over the colours. The sum of all values is close to the logit of the image minus the logit of black
    (completeness). Computed in fp32; the network is unchanged afterwards.

    Args:
        classifier, image, target: as for `explain`.
        steps: number of points between black and the image.

    Returns:
        float32 (height, width), in logits; positive values support the class.

    Raises:
        InputError, DataError: as for `explain`.
    """
    if steps < 1:
        raise InputError(f"`steps={steps}`: at least 1 is needed")
    end = network_input(classifier, one_image(image))
    start = black(classifier)
    label = None if target is None else class_index(classifier, target)
    total = torch.zeros_like(end[0])
    with untouched(classifier.model) as model:
        if label is None:
            with torch.no_grad():
                label = int(model(end).argmax())
        ways = (torch.arange(steps, device=end.device) + 0.5) / steps
        for part in torch.split(ways, images_at_once(_BATCH_SIZE, *end.shape[2:])):
            points = (start + part.view(-1, 1, 1, 1) * (end - start)).requires_grad_()
            (gradients,) = torch.autograd.grad(model(points)[:, label].sum(), points)
            total += gradients.sum(0)
    attributions: npt.NDArray[np.float32] = (total / steps * (end - start)[0]).sum(0).cpu().numpy()
    return attributions


def class_index(classifier: Classifier, target: str | int) -> int:
    """Return the index of a class that is given by name or index.

    Raises:
        InputError: there is no such class; the message names the nearest.
    """
    if isinstance(target, str):
        if target not in classifier.classes:
            raise InputError(f"no class {target!r}{nearest(target, list(classifier.classes))}")
        return classifier.classes.index(target)
    if not 0 <= target < len(classifier.classes):
        raise InputError(f"no class {target}: classes are numbered 0 to {len(classifier.classes) - 1}")
    return int(target)


def _with_gradients(
    classifier: Classifier,
    layer: nn.Module,
    images: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64] | None,
) -> tuple[Tensor, Tensor]:
    """Return a layer's output and the gradients of the targets' logits with respect to it."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # later layers may change it in place

    hook = hooked([layer.register_forward_hook(keep)])
    with hook, untouched(classifier.model) as model, torch.enable_grad():
        logits = model(network_input(classifier, images).requires_grad_())
        labels = logits.argmax(1) if targets is None else torch.from_numpy(targets).to(logits.device)
        (gradients,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), kept[-1])
    if not gradients.isfinite().all():
        raise ModelError(f"{classifier.model_config.name}: its gradients are NaN or infinite; train it again")
    return kept[-1].detach(), gradients
