"""Colours against Pillow, whose results are cut down to whole numbers and up to 1 off, and against colorsys."""

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from changed_images import change, from_pillow, random_images, shift_hue_by_loop, smooth_image, to_pillow


@pytest.mark.parametrize("factor", [0.0, 0.37, 0.8, 1.0, 1.25, 3.0])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_colour_factors_agree_with_pillow(name: str, enhance: Any, factor: float) -> None:
    for image in (random_images(1)[0], smooth_image()):
        expected = from_pillow(enhance(to_pillow(image)).enhance(factor))
        # Pillow also rounds the grey value, which is weighted by 1 - factor.
        parameters: dict[str, Any] = {name: factor}
        assert np.abs(change(image, **parameters) - expected).max() <= 1 + 0.51 * abs(1 - factor)


@pytest.mark.parametrize("shift", [-0.5, -0.31, -0.1, 0.0, 0.04, 0.2, 0.5])
def test_hue_agrees_with_colorsys(shift: float) -> None:
    corners = np.array(list(itertools.product((0, 128, 255), repeat=3)), dtype=np.uint8).T.reshape(3, 3, 9)
    nearly_grey = np.clip(random_images(1, side=9)[0] % 3 + 100, 0, 255).astype(np.uint8)
    image = np.concatenate([corners, random_images(1, side=9)[0], nearly_grey], axis=1)
    assert np.abs(change(image, hue=shift) - shift_hue_by_loop(image, shift)).max() < 1e-3


def test_one_channel_images_have_brightness_and_contrast_but_no_colour() -> None:
    image = random_images(1, channels=1)[0]
    np.testing.assert_array_equal(change(image, saturation=0.3, hue=0.2), image)
    picture = Image.fromarray(image[0])
    for name, enhance in (("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast)):
        expected = np.asarray(enhance(picture).enhance(1.3)).astype(np.float64)
        parameters: dict[str, Any] = {name: 1.3}
        assert np.abs(change(image, **parameters)[0] - expected).max() <= 1.2
    every = np.repeat(image, 3, axis=0)
    moved: dict[str, Any] = {"rotation": 30.0, "cutout": 0.25, "cutout_x": 0.2, "cutout_y": 0.7}
    np.testing.assert_array_equal(change(image, **moved)[0], change(every, **moved)[0])
