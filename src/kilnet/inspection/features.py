"""What each convolution of a network computes from an image."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kilnet.inference.classifier import Classifier
from kilnet.inspection.passes import convolutions, network_input, one_image, untouched

# Names of torch's functions, in lower case and without underscores.
_NORMALISATIONS = frozenset({"batchnorm", "groupnorm", "instancenorm", "layernorm", "localresponsenorm"})
_ACTIVATIONS = frozenset(name.lower() for name in nn.modules.activation.__all__)


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

    handles = [layer.register_forward_hook(keep) for layer in names]
    try:
        with untouched(classifier.model) as model, torch.no_grad(), watch:
            model(network_input(classifier, one_image(image)))
    finally:
        for handle in handles:
            handle.remove()
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
