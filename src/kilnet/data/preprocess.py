"""From stored uint8 pixels to what a network sees."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kilnet.config import Fit
from kilnet.data.dataset import ImageDataset

_PIXELS_AT_ONCE = 1 << 19  # few enough to stay in the processor's cache


@dataclass(frozen=True)
class Preprocessing:
    """Normalisation by channel; kept beside the weights, so that use is as in training.

    Attributes:
        mean, std: one per channel, in pixel values divided by 255.
        image_size: (height, width) in pixels.
        fitting: how a picture becomes a square of that size, as `data.fit` says.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: tuple[int, int]
    fitting: Fit = "pad"

    @classmethod
    def half(cls, dataset: ImageDataset) -> "Preprocessing":
        """Map 0 to -1 and 255 to 1, as many tutorials do, whatever the images are."""
        channels, height, width = dataset.image_shape
        return cls((0.5,) * channels, (0.5,) * channels, (height, width))

    @classmethod
    def fit(cls, dataset: ImageDataset) -> "Preprocessing":
        """Take mean and standard deviation of each channel over the training images; a constant channel gets std 1."""
        images = dataset.train.images
        # Exact sums over a histogram: no rounding, no float copy of the data set.
        values = np.arange(256) / 255
        mean, std = [], []
        block = max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
        for channel in range(images.shape[1]):
            counts = np.zeros(256, np.int64)
            for start in range(0, len(images), block):
                counts += _histogram(images[start : start + block, channel].reshape(-1))
            average = float(counts @ values / counts.sum())
            spread = float(np.sqrt(counts @ (values - average) ** 2 / counts.sum()))
            mean.append(average)
            std.append(spread or 1.0)
        _, height, width = dataset.image_shape
        return cls(tuple(mean), tuple(std), (height, width))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise pixel values.

        Args:
            pixels: uint8 or float32 (num_images, channels, height, width), 0 to 255.

        Returns:
            float32, same shape and memory order.
        """
        scale, shift = _scale_and_shift(self.mean, self.std, pixels.device)
        return (pixels * scale).add_(shift)


def _histogram(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return how often each value occurs, int64 (256,); two at a time, which is three times as fast."""
    even = len(values) // 2 * 2
    pairs = np.bincount(values[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
    return pairs.sum(0) + pairs.sum(1) + np.bincount(values[even:], minlength=256)  # type: ignore[no-any-return]


@lru_cache(maxsize=16)
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return what pixels are multiplied by and what is added; kept, since a GPU waits for what is copied to it."""
    scale = [1 / (255 * s) for s in std]
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    with torch.inference_mode(mode=False):  # or no gradient could be taken through them later
        scales, shifts = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (scale, shift))
    return scales, shifts
