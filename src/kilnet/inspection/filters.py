"""The filters of a convolution as small pictures."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError
from kilnet.inference.classifier import Classifier
from kilnet.inspection.passes import convolution


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
        shown = range(num_channels)
        chosen = weights.reshape(-1, *weights.shape[2:])
    elif channel is None and num_channels == 3:
        shown = (None,)
        chosen = weights.transpose(0, 2, 3, 1)
    else:
        shown = (channel or 0,)
        chosen = weights[:, channel or 0]
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
