"""One observed forward pass: which layers ran, in which order, with which shapes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kilnet.errors import DataError, InputError, ModelError, nearest
from kilnet.inference.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer in a forward pass.

    Attributes:
        name: dotted, as in `model.named_modules()`; a layer that runs twice has two calls.
        layer: the module.
        output_shape: the number of images first; None if the output is not a tensor.
    """

    name: str
    layer: nn.Module
    output_shape: tuple[int, ...] | None


@contextmanager
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """Put the network into evaluation mode; afterwards each layer is in its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


def network_input(classifier: Classifier, images: npt.NDArray[np.uint8]) -> Tensor:
    """Return images as the network sees them: float32, normalised, on its device.

    Args:
        classifier: the network.
        images: uint8 (num_images, channels, height, width) of the network's `image_shape`.

    Raises:
        DataError: the dtype or the shape does not fit.
    """
    return classifier.preprocessing(classifier.as_pixels(images).to(classifier.settings.device))


def one_image(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (channels, height, width) as a batch of one.

    Raises:
        DataError: it is not a single image.
    """
    if image.ndim != 3:
        raise DataError(f"an image has the shape (channels, height, width), not {image.shape}")
    return image[None]


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Remove hooks of layers afterwards."""
    handles = list(handles)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def black(classifier: Classifier, num_images: int = 1) -> Tensor:
    """Return black images as the network sees them."""
    return network_input(classifier, np.zeros((num_images, *classifier.image_shape), np.uint8))


@torch.no_grad()
def calls(classifier: Classifier) -> list[Call]:
    """Run the network on a black image, and return the calls of all layers in the order in which they end."""
    found: list[Call] = []

    def note(layer: nn.Module, _: object, output: object) -> None:
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        found.append(Call(names[layer], layer, shape))

    names = {layer: name for name, layer in classifier.model.named_modules()}
    with hooked(layer.register_forward_hook(note) for layer in names), untouched(classifier.model) as model:
        model(black(classifier))
    return found


def convolutions(classifier: Classifier) -> list[tuple[str, nn.Conv2d]]:
    """Return the names and layers of all 2-d convolutions, each once, in the order in which the network runs them.

    Raises:
        ModelError: the network has no convolution.
    """
    found = {call.name: call.layer for call in calls(classifier) if isinstance(call.layer, nn.Conv2d)}
    if not found:
        lacks = "has no torch.nn.Conv2d, so it has no filters, feature maps or heat maps"
        raise ModelError(f"{classifier.model_config.name} {lacks}")
    return list(found.items())


def convolution(classifier: Classifier, layer: str | int | None) -> tuple[str, nn.Conv2d]:
    """Return a convolution by its name or by its number, from 1 in the order of `convolutions`; None means the first.

    Raises:
        InputError: there is no such convolution; the message names the nearest.
        ModelError: the network has no convolution.
    """
    known = convolutions(classifier)
    if layer is None:
        return known[0]
    by_name = dict(known)
    if str(layer) in by_name:
        return str(layer), by_name[str(layer)]
    try:
        number = int(layer)
    except ValueError:
        message = f"`layer={layer!r}`: no such convolution{nearest(str(layer), list(by_name))}"
        raise InputError(message) from None
    if not 1 <= number <= len(known):
        ends = f"1 ({known[0][0]}) to {len(known)} ({known[-1][0]})"
        raise InputError(f"`layer={number}`: convolutions are numbered from {ends}")
    return known[number - 1]


def map_layer(classifier: Classifier, layer: str | int | None) -> nn.Module:
    """Return the layer that heat maps are of; see `kilnet.inspection.attribution.grad_cams`."""
    if isinstance(layer, int):
        return convolution(classifier, layer)[1]
    last = convolutions(classifier)[-1][0]
    maps = [call for call in calls(classifier) if call.name and len(call.output_shape or ()) == 4]
    if layer is not None:
        layers = {call.name: call.layer for call in maps}
        if layer not in layers:
            near = nearest(layer, list(layers))
            raise InputError(f"`layer={layer!r}`: no such layer whose output is a map of the image{near}")
        return layers[layer]
    sizes = {call.name: (call.output_shape or ())[2:] for call in maps}
    return [call.layer for call in maps if (call.output_shape or ())[2:] == sizes[last]][-1]
