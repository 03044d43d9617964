"""The filters of a convolution as small pictures, and what each convolution computes from an image."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kilnet.errors import InputError
from kilnet.inference.classifier import Classifier
from kilnet.inspection.passes import convolution, convolutions, hooked, network_input, one_image, untouched

# Names of torch's functions, in lower case and without underscores.
_NORMALISATIONS = frozenset({"batchnorm", "groupnorm", "instancenorm", "layernorm", "localresponsenorm"})
_ACTIVATIONS = frozenset(name.lower() for name in nn.modules.activation.__all__)


@dataclass(frozen=True, eq=False)
class FilterGrid:
    """Filters of one convolution.

    Attributes:
        layer: name of the convolution.
        pictures: float32 (num_pictures, height, width), grey, or (num_pictures, height, width, 3), colour; from 0
            (the weight `low`) to 1 (the weight `high`).
        weights: float32, the same shape, the weights of the network.
        low, high: smallest and largest weight of the whole layer, so that pictures can be compared.
        filters: the output channel of each picture, from 0.
        channels: the input channel of each picture, from 0; None for a picture in colour, which shows all three.
    """

    layer: str
    pictures: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    low: float
    high: float
    filters: tuple[int, ...]
    channels: tuple[int | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each picture: "5", or "5:2" for input channel 2 of filter 5."""
        pairs = zip(self.filters, self.channels, strict=True)
        return tuple(str(number) if channel is None else f"{number}:{channel}" for number, channel in pairs)


def filters(
    classifier: Classifier,
    layer: str | int | None = None,
    channel: int | None = None,
    all_kernels: bool = False,
) -> FilterGrid:
    """Return the filters of a convolution, in colour if it has three input channels.

    Args:
        classifier: the network.
        layer: name or number, from 1 in the order in which the network runs its convolutions; by default the first.
        channel: the input channel that is shown, from 0; by default all three in colour, or else the first.
        all_kernels: show every input channel of every filter, each as a grey picture.

    Raises:
        InputError: there is no such convolution or channel, or `channel` and `all_kernels` are both given.
        ModelError: the network has no convolution.
    """
    name, found = convolution(classifier, layer)
    weights: npt.NDArray[np.float32] = found.weight.detach().float().cpu().numpy().copy()
    low, high = float(weights.min()), float(weights.max())
    num_filters, num_channels = weights.shape[:2]  # in a grouped convolution, the channels of one group
    if channel is not None and all_kernels:
        raise InputError("`channel` and `all_kernels` exclude each other; give one of them")
    if channel is not None and not 0 <= channel < num_channels:
        raise InputError(f"`channel={channel}`: the filters of {name} have channels 0 to {num_channels - 1}")
    shown: range | tuple[int | None, ...]
    if all_kernels:
        shown, chosen = range(num_channels), weights.reshape(-1, *weights.shape[2:])
    elif channel is None and num_channels == 3:
        shown, chosen = (None,), weights.transpose(0, 2, 3, 1)
    else:
        shown, chosen = (channel or 0,), weights[:, channel or 0]
    pictures = (chosen - low) / (high - low) if high > low else np.full_like(chosen, 0.5)
    return FilterGrid(
        layer=name,
        pictures=np.ascontiguousarray(pictures),
        weights=np.ascontiguousarray(chosen),
        low=low,
        high=high,
        filters=tuple(number for number in range(num_filters) for _ in shown),
        channels=tuple(shown) * num_filters,
    )


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """What one convolution computes from one image.

    Attributes:
        layer: name of the convolution; one that the network runs twice has two feature maps.
        output: float32 (channels, height, width), the output of the convolution, as a forward hook sees it.
        activated: the same after the activation that follows, including a normalisation in between. Equal to `output`
            if no activation follows.
        activation: name of the activation, in lower case; "" if none follows.
    """

    layer: str
    output: npt.NDArray[np.float32]
    activated: npt.NDArray[np.float32]
    activation: str


def feature_maps(classifier: Classifier, image: npt.NDArray[np.uint8]) -> tuple[FeatureMap, ...]:
    """Run the network on one image, and return what each convolution computed, in the order in which they ran.

    Args:
        classifier: the network; it runs in fp32 and is unchanged afterwards.
        image: uint8 (channels, height, width) of the network's `image_shape`.

    Raises:
        DataError: the image does not fit.
        ModelError: the network has no convolution.
    """
    names: dict[nn.Module, str] = {layer: name for name, layer in convolutions(classifier)}
    watch = _Watch()

    def keep(layer: nn.Module, _: Any, output: Tensor) -> None:
        watch.follow(names[layer], output)

    hooks = hooked(layer.register_forward_hook(keep) for layer in names)
    with hooks, untouched(classifier.model) as model, torch.no_grad(), watch:
        model(network_input(classifier, one_image(image)))
    return tuple(
        FeatureMap(name, _array(output), _array(output if activated is None else activated), activation)
        for name, output, activated, activation in watch.found
    )


class _Watch(TorchFunctionMode):
    """Follows the output of each convolution to its activation.

    Networks call activations as functions or as layers, often in place; watching torch's own functions catches all of
    them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Tensor, Tensor | None, str]] = []
        self._followed: list[tuple[Tensor, int]] = []  # with the place in `found`

    def follow(self, name: str, output: Tensor) -> None:
        """Keep a copy of the output of a convolution; later layers may change it in place."""
        self._followed.append((output, len(self.found)))
        self.found.append((name, output.clone(), None, ""))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "").replace("_", "")
        result = func(*args, **(kwargs or {}))
        place = self._place(args[0]) if args and name in _NORMALISATIONS | _ACTIVATIONS else None
        if place is None:
            return result
        self._followed = [(tensor, other) for tensor, other in self._followed if other != place]
        if name in _NORMALISATIONS:
            self._followed.append((result, place))
        else:
            layer, output, _, _ = self.found[place]
            self.found[place] = (layer, output, result.clone(), name)
        return result

    def _place(self, tensor: object) -> int | None:
        return next((place for followed, place in self._followed if followed is tensor), None)


def _array(values: Tensor) -> npt.NDArray[np.float32]:
    return values[0].float().cpu().numpy()
