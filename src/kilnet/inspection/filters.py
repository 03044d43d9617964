"""The filters of a convolution, as small pictures."""

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
        layer: its name.
        pictures: float32 (num_pictures, height, width), grey, or (num_pictures, height, width, 3), colour; 0 to 1,
            where 0 is `low` and 1 is `high`.
        weights: float32, the same shape, as they are in the network.
        low, high: smallest and largest weight of the whole layer, so that its pictures can be compared.
        filters: the output channel of each picture, from 0.
        channels: the input channel of each picture, from 0; None for colour, which shows all three.
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
        """A name for each picture: "5", or "5:2" for input channel 2 of filter 5."""
        pairs = zip(self.filters, self.channels, strict=True)
        return tuple(str(number) if channel is None else f"{number}:{channel}" for number, channel in pairs)


def filters(
    classifier: Classifier,
    layer: str | int | None = None,
    channel: int | None = None,
    all_kernels: bool = False,
) -> FilterGrid:
    """Return the filters of a convolution; in colour where it sees three channels.

    Args:
        classifier: the network.
        layer: name or number, from 1 in the order in which the network runs its convolutions; by default the first.
        channel: the input channel to show of every filter, from 0; by default all three as colour, or else the first.
        all_kernels: show every input channel of every filter, each as a grey picture.

    Raises:
        InputError: there is no such convolution or channel, or `channel` and `all_kernels` are both given.
        ModelError: the network has no convolution.
    """
    name, found = convolution(classifier, layer)
    weights: npt.NDArray[np.float32] = found.weight.detach().float().cpu().numpy().copy()
    low, high = float(weights.min()), float(weights.max())
    num_filters, num_channels = weights.shape[
        :2
    ]  # of a grouped convolution: the channels that one filter sees
    if channel is not None and all_kernels:
        raise InputError("one channel, or all kernels: not both")
    if channel is not None and not 0 <= channel < num_channels:
        raise InputError(f"no channel {channel}: the filters of {name} see channels 0 to {num_channels - 1}")
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
        name,
        np.ascontiguousarray(pictures),
        np.ascontiguousarray(chosen),
        low,
        high,
        tuple(number for number in range(num_filters) for _ in shown),
        tuple(shown) * num_filters,
    )
