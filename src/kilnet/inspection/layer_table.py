"""The layers of a network, and what each of them costs."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from kilnet.hardware import synchronise
from kilnet.inference.classifier import Classifier
from kilnet.inspection.passes import black, hooked, untouched

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
    for layer, (input_shape, output_shape) in shapes.items():
        parameters = set(layer.parameters(recurse=False)) - counted
        counted |= parameters
        rows.append(
            LayerRow(
                name=layers[layer],
                kind=type(layer).__name__,
                input_shape=input_shape,
                output_shape=output_shape,
                num_parameters=sum(parameter.numel() for parameter in parameters),
                num_multiply_adds=multiply_adds[layer],
                milliseconds=milliseconds[layer],
            )
        )
    return tuple(rows)


Layers = dict[nn.Module, str]
Shape = tuple[int, ...]


def _shapes(classifier: Classifier, layers: Layers) -> dict[nn.Module, tuple[Shape, Shape]]:
    """Return the shapes of each layer's first call, in the order in which they end."""
    found: dict[nn.Module, tuple[Shape, Shape]] = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        found.setdefault(layer, (_shape(inputs[0] if inputs else None), _shape(output)))

    with hooked(layer.register_forward_hook(note) for layer in layers):
        classifier.model(black(classifier))
    return found


def _shape(value: object) -> Shape:
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def _multiply_adds(classifier: Classifier, layers: Layers) -> dict[nn.Module, int]:
    """Return each layer's own multiply-adds, without those of the layers inside it."""
    own, running = dict.fromkeys(layers, 0), list[nn.Module]()
    images = black(classifier)

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # to see to it would import torch's compiler, which takes seconds

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            output = func(*args, **(kwargs or {}))
            if (formula := flop_registry.get(func.overloadpacket)) is not None:
                own[running[-1]] += formula(*args, **(kwargs or {}), out_val=output) // 2
            return output

    def begin(layer: nn.Module, _: object) -> None:
        running.append(layer)

    def end(*_: object) -> None:
        running.pop()

    hooks = [layer.register_forward_pre_hook(begin) for layer in layers]
    hooks += [layer.register_forward_hook(end) for layer in layers]
    with hooked(hooks), Counting():  # type: ignore[no-untyped-call]
        classifier.model(images)
    return own


def _times(classifier: Classifier, layers: Layers) -> dict[nn.Module, float]:
    """Return each layer's own median milliseconds, without those of the layers inside it."""
    settings = classifier.settings
    images = settings.place_images(black(classifier, _BATCH_SIZE))
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
    with hooked([*hooks, *(layer.register_forward_hook(end) for layer in layers)]):
        for _ in range(1 + _ROUNDS):
            seconds.clear()
            with settings.autocast():
                classifier.model(images)
            rounds.append(dict(seconds))
    return {layer: 1000 * median(taken[layer] for taken in rounds[1:]) for layer in seconds}
