"""TrivialAugment: each image gets one random change of a random strength."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from kilnet.data import colour
from kilnet.seeding import generator

# The wide space of Müller and Hutter (2021, arXiv 2103.10158, table 1): highest strengths, and so many levels from 0.
_NUM_LEVELS = 31
_MOST_DEGREES = 135.0
_MOST_SHEAR = 0.99
_MOST_SHIFT = 32 / 224  # of the side, as of ImageNet's images there
_MOST_FACTOR = 0.99  # factors of colours are 1 ± this
_MOST_BITS = 6  # that are dropped
_STRENGTHS = [level / (_NUM_LEVELS - 1) for level in range(_NUM_LEVELS)]
_COSINES, _SINES = (  # a table, so that an image gets the same bytes in every batch
    [wave(math.radians(_MOST_DEGREES * strength)) for strength in _STRENGTHS] for wave in (math.cos, math.sin)
)


def draw(num_images: int, seed: int, epoch: int) -> dict[str, npt.NDArray[np.generic]]:
    """Draw the change of each image from (seed, epoch) alone.

    Returns:
        By name, (num_images,) each: trivial_change, float32 from 0 to below 1, which is where in the list of changes;
        trivial_level, int64 from 0 to 30; trivial_negative, bool, whether it is the other way round.
    """

    def stream(name: str) -> np.random.Generator:
        return generator(seed, f"augment/trivial {name}", epoch)

    return {
        "trivial_change": stream("change").random(num_images, np.float32),
        "trivial_level": stream("level").integers(0, _NUM_LEVELS, num_images),
        "trivial_negative": stream("sign").random(num_images) < 0.5,
    }


def change(pixels: Tensor, where: Tensor, levels: Tensor, negative: Tensor, fill: str) -> None:
    """Change each image in place by one of `CHANGES`; of grey ones, all but the saturation may change.

    Args:
        pixels: float32 (num_images, channels, height, width), 0 to 255, channels 1 or 3.
        where, levels, negative: as of `draw`.
        fill: what comes in from outside, see `augment.fill`.
    """
    names = [name for name in CHANGES if pixels.shape[1] == 3 or name != "saturation"]
    chosen = (where * len(names)).long()
    for number, name in enumerate(names):
        indices = (chosen == number).nonzero()[:, 0]
        if len(indices) and name != "nothing":
            sign = torch.where(negative[indices], -1.0, 1.0)
            pixels[indices] = CHANGES[name](pixels[indices], levels[indices], sign, fill)


Change = Callable[[Tensor, Tensor, Tensor, str], Tensor]


def _by_factor(in_place: Callable[[Tensor, Tensor], None]) -> Change:
    def changed(pixels: Tensor, levels: Tensor, sign: Tensor, _: str) -> Tensor:
        in_place(pixels, 1 + sign * _table(_STRENGTHS, levels) * _MOST_FACTOR)
        return pixels

    return changed


def _sharpen(pixels: Tensor, factors: Tensor) -> None:
    """Blend with a smoothed version, as Pillow's ImageEnhance.Sharpness does; the border stays as it is."""
    height, width = pixels.shape[2:]
    if min(height, width) < 3:
        return
    inside = pixels[:, :, 1:-1, 1:-1]
    smooth = 4 * inside
    for top in range(3):
        for left in range(3):
            smooth = smooth + pixels[:, :, top : top + height - 2, left : left + width - 2]
    smooth = smooth / 13
    inside.copy_((smooth + (inside - smooth) * factors.view(-1, 1, 1, 1)).clamp(0, 255))


def _posterize(pixels: Tensor, levels: Tensor, _: Tensor, __: str) -> Tensor:
    dropped = (_MOST_BITS * _table(_STRENGTHS, levels)).round().long()
    step = (2**dropped).view(-1, 1, 1, 1)
    return (_whole(pixels) // step * step).float()


def _solarize(pixels: Tensor, levels: Tensor, _: Tensor, __: str) -> Tensor:
    threshold = (255 * (1 - _table(_STRENGTHS, levels))).view(-1, 1, 1, 1)
    return torch.where(pixels < threshold, pixels, 255 - pixels)


def _stretch_contrast(pixels: Tensor, _: Tensor, __: Tensor, ___: str) -> Tensor:
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    wide = ((pixels - low) * (255 / (high - low).clamp(min=1e-6))).clamp(0, 255)
    return torch.where(high > low, wide, pixels)


def _equalize(pixels: Tensor, _: Tensor, __: Tensor, ___: str) -> Tensor:
    """Make all values about equally common, each channel by itself, as Pillow's ImageOps.equalize does."""
    values = _whole(pixels).flatten(2).flatten(0, 1)
    counts = values.new_zeros(len(values), 256).scatter_add_(1, values, torch.ones_like(values))
    last = counts.gather(1, values.amax(1, keepdim=True))
    step = (counts.sum(1, keepdim=True) - last) // 255
    before = counts.cumsum(1) - counts
    table = torch.where(
        step > 0,
        ((step // 2 + before) // step.clamp(min=1)).clamp(max=255),
        torch.arange(256, device=pixels.device),
    )
    return table.gather(1, values).view(pixels.shape).float()


def _moved(matrix: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> Change:
    """Return a change that looks each pixel up at matrix * (x, y), in half sides from the middle; bilinear."""

    def changed(pixels: Tensor, levels: Tensor, sign: Tensor, fill: str) -> Tensor:
        height, width = pixels.shape[2:]
        x, y = ((2 * torch.arange(size, device=pixels.device) + 1 - size) / size for size in (width, height))
        x, y = x.view(1, 1, -1), y.view(1, -1, 1)
        xx, xy, x0, yx, yy, y0 = (part.to(pixels.device).view(-1, 1, 1) for part in matrix(levels, sign))
        ratio = height / width
        across, down = xx * x + xy * (y * ratio) + x0, yx * (x / ratio) + yy * y + y0
        there = torch.stack([part.expand(len(pixels), height, width) for part in (across, down)], 3)
        mode = "reflection" if fill == "mirror" else "zeros"
        return F.grid_sample(pixels, there, "bilinear", mode, align_corners=False).clamp(0, 255)

    return changed


def _shear(levels: Tensor, sign: Tensor) -> Tensor:
    return sign * _table(_STRENGTHS, levels) * _MOST_SHEAR


def _shift(levels: Tensor, sign: Tensor) -> Tensor:
    return sign * _table(_STRENGTHS, levels) * 2 * _MOST_SHIFT


def _turn(levels: Tensor, sign: Tensor) -> tuple[Tensor, ...]:
    cosine, sine = _table(_COSINES, levels), sign * _table(_SINES, levels)
    return cosine, sine, _NONE, -sine, cosine, _NONE


def _table(values: list[float], levels: Tensor) -> Tensor:
    return torch.tensor(values, device=levels.device)[levels]


def _whole(pixels: Tensor) -> Tensor:
    return pixels.round().long()


_ONE, _NONE = torch.ones(1), torch.zeros(1)
CHANGES: dict[str, Change] = {
    "nothing": lambda pixels, *_: pixels,
    "rotation": _moved(_turn),
    "shear along x": _moved(lambda levels, sign: (_ONE, _shear(levels, sign), _NONE, _NONE, _ONE, _NONE)),
    "shear along y": _moved(lambda levels, sign: (_ONE, _NONE, _NONE, _shear(levels, sign), _ONE, _NONE)),
    "shift along x": _moved(lambda levels, sign: (_ONE, _NONE, _shift(levels, sign), _NONE, _ONE, _NONE)),
    "shift along y": _moved(lambda levels, sign: (_ONE, _NONE, _NONE, _NONE, _ONE, _shift(levels, sign))),
    "brightness": _by_factor(colour.brighten),
    "contrast": _by_factor(colour.change_contrast),
    "saturation": _by_factor(colour.saturate),
    "sharpness": _by_factor(_sharpen),
    "fewer values": _posterize,
    "inverted highlights": _solarize,
    "full contrast": _stretch_contrast,
    "equal histogram": _equalize,
}
"""What may happen to an image, by name."""
