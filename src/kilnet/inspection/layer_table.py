"""The layers of a network, and what each of them costs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kilnet.hardware import synchronise
from kilnet.inference.classifier import Classifier
from kilnet.inspection.passes import network_input, untouched

_BATCH_SIZE = 64
_ROUNDS = 7  # timed passes, after one that is not


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        name: dotted; "" for what the network computes between its layers, such as activations that are functions.
        kind: the layer's class.
        input_shape, output_shape: for one image; () if it is not a tensor.
        num_parameters: of the layer itself; a parameter that two layers share counts for the first.
        num_multiply_adds: for one image, in convolutions and matrix products.
        milliseconds: median time for 64 images in a forward pass, with the settings of the run.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    num_parameters: int
    num_multiply_adds: int
    milliseconds: float


@torch.no_grad()
def layer_table(classifier: Classifier) -> tuple[LayerRow, ...]:
    """Return one row per layer in the order in which the network runs them; the last row is what is between the layers.

    A layer is a module without submodules, or with parameters of its own; if it runs more than once, its costs add up.
    The rows add up to the whole network: the parameters that it uses, its multiply-adds (half the count of
    `torch.utils.flop_counter`, which counts a multiplication and an addition as two) and its time.
    """
    model = classifier.model
    layers = {
        module: name
        for name, module in model.named_modules()
        if name and (not list(module.children()) or list(module.parameters(recurse=False)))
    }
    layers[model] = ""  # the row for everything between the layers
    with untouched(model):
        shapes = _shapes(classifier, layers)
        multiply_adds = _multiply_adds(classifier, layers)
        milliseconds = _times(classifier, layers)
    rows, counted = [], set[nn.Parameter]()
    for layer in shapes:
        parameters = set(layer.parameters(recurse=False)) - counted
        counted |= parameters
        rows.append(
            LayerRow(
                name=layers[layer],
                kind=type(layer).__name__,
                input_shape=shapes[layer][0],
                output_shape=shapes[layer][1],
                num_parameters=sum(parameter.numel() for parameter in parameters),
                num_multiply_adds=multiply_adds[layer],
                milliseconds=milliseconds[layer],
            )
        )
    return tuple(rows)


Layers = dict[nn.Module, str]
Shapes = dict[nn.Module, tuple[tuple[int, ...], tuple[int, ...]]]


def _shapes(classifier: Classifier, layers: Layers) -> Shapes:
    """Return the shapes of each layer's first call, in the order in which they end."""
    found: Shapes = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        found.setdefault(layer, (_shape(inputs[0] if inputs else None), _shape(output)))

    with _hooks([layer.register_forward_hook(note) for layer in layers]):
        classifier.model(_images(classifier, 1))
    return found


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def _multiply_adds(classifier: Classifier, layers: Layers) -> dict[nn.Module, int]:
    """Return each layer's own multiply-adds, without those of the layers inside it."""
    counter = FlopCounterMode(display=False)
    with counter:
        classifier.model(_images(classifier, 1))
    counts = counter.get_flop_counts()
    root = type(classifier.model).__name__

    def whole(name: str) -> int:
        return sum(counts.get(f"{root}.{name}" if name else root, {}).values()) // 2

    own = {layer: whole(name) for layer, name in layers.items()}
    for name in layers.values():
        if parent := _enclosing(name, layers):
            own[parent] -= whole(name)
    return own


def _enclosing(name: str, layers: Layers) -> nn.Module | None:
    """Return the layer around a layer, for most the network itself; None for the network, whose name is ""."""
    if not name:
        return None
    by_name = {name: layer for layer, name in layers.items()}
    outer = name.rpartition(".")[0]
    while outer not in by_name:
        outer = outer.rpartition(".")[0]
    return by_name[outer]


def _times(classifier: Classifier, layers: Layers) -> dict[nn.Module, float]:
    """Return each layer's own median milliseconds, without those of the layers inside it."""
    settings = classifier.settings
    images = settings.place_images(_images(classifier, _BATCH_SIZE))
    seconds: dict[nn.Module, float] = {}
    running: list[list[float]] = []  # start, and seconds of the layers inside

    def begin(*_: object) -> None:
        synchronise(settings.device)
        running.append([time.perf_counter(), 0.0])

    def end(layer: nn.Module, *_: object) -> None:
        synchronise(settings.device)
        start, within = running.pop()
        taken = time.perf_counter() - start
        seconds[layer] = seconds.get(layer, 0.0) + taken - within
        if running:
            running[-1][1] += taken

    rounds = []
    hooks = [layer.register_forward_pre_hook(begin) for layer in layers]
    with _hooks([*hooks, *(layer.register_forward_hook(end) for layer in layers)]):
        for _ in range(1 + _ROUNDS):
            seconds.clear()
            with settings.autocast():
                classifier.model(images)
            rounds.append(dict(seconds))
    return {layer: 1000 * median(taken[layer] for taken in rounds[1:]) for layer in seconds}


@contextmanager
def _hooks(handles: list[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _images(classifier: Classifier, num_images: int) -> Tensor:
    return network_input(classifier, np.zeros((num_images, *classifier.image_shape), np.uint8))
