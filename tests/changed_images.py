"""Images, and one image changed by given parameters, for the tests of augmentation."""

import colorsys
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from kilnet.config import AugmentConfig
from kilnet.data.augment import Augmentation

Array = npt.NDArray[Any]


def random_images(num_images: int, channels: int = 3, side: int = 32, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_images, channels, side, side), dtype=np.uint8)


def smooth_image(side: int = 33) -> Array:
    """A picture of gentle slopes, on which two ways of rounding a position differ little."""
    y, x = np.mgrid[:side, :side] / side
    planes = [127 + 100 * np.sin(3 * x + 2 * y), 127 + 100 * np.cos(4 * y - x), 40 + 150 * x * y]
    return np.rint(planes).astype(np.uint8)


def change(image: Array, fill: str = "mirror", cutout: float = 0.0, **parameters: float) -> Array:
    """Apply given parameters to one image (channels, height, width)."""
    config = AugmentConfig.model_validate({"fill": fill, "cutout": cutout})
    kinds = {"horizontal_flip": bool, "vertical_flip": bool, "shift_x": np.int64, "shift_y": np.int64}
    arrays: dict[str, Array] = {
        name: np.array([value], dtype=kinds.get(name, np.float32)) for name, value in parameters.items()
    }
    changed = Augmentation(config, arrays)(torch.from_numpy(image)[None], torch.tensor([0]))
    assert changed.dtype == torch.float32
    assert changed.shape == (1, *image.shape)
    return changed[0].numpy()


def to_pillow(image: Array) -> Image.Image:
    return Image.fromarray(image.transpose(1, 2, 0))


def from_pillow(picture: Image.Image) -> Array:
    return np.asarray(picture).transpose(2, 0, 1).astype(np.float64)


def shift_hue_by_loop(image: Array, shift: float) -> Array:
    result = np.empty(image.shape)
    for row, column in np.ndindex(image.shape[1:]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[:, row, column] / 255))
        result[:, row, column] = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
    return result * 255
