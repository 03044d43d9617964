"""Movements, flips, shifts and cut-outs against plain loops, Pillow and numpy."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from changed_images import change, from_pillow, random_images, smooth_image, to_pillow

Array = npt.NDArray[Any]


def affine_by_loop(image: Array, forward: Array, fill: str) -> Array:
    """Move an image by a 3x3 matrix in pixels about the centre: plain loops over the inverse, in float64."""
    height, width = image.shape[1:]
    backward = np.linalg.inv(forward)
    result = np.zeros(image.shape)
    for row, column in itertools.product(range(height), range(width)):
        x, y, _ = backward @ (column - (width - 1) / 2, row - (height - 1) / 2, 1)
        x, y = x + (width - 1) / 2, y + (height - 1) / 2
        left, top = int(np.floor(x)), int(np.floor(y))
        for j, i in itertools.product((top, top + 1), (left, left + 1)):
            weight = (1 - abs(x - i)) * (1 - abs(y - j))
            if fill == "mirror":  # ... 1 0 | 0 1 2 | 2 1 ...
                i, j = i % (2 * width), j % (2 * height)
                i, j = min(i, 2 * width - 1 - i), min(j, 2 * height - 1 - j)
            elif not (0 <= i < width and 0 <= j < height):
                continue
            result[:, row, column] += weight * image[:, j, i]
    return result


@pytest.mark.parametrize("fill", ["mirror", "black"])
@pytest.mark.parametrize("horizontal_flip", [False, True])
@pytest.mark.parametrize("vertical_flip", [False, True])
@pytest.mark.parametrize(
    ("rotation", "zoom", "x", "y"),
    [
        (0, 1, 0.25, -0.4),
        (20, 1, 0, 0),
        (-137, 1, 0, 0),
        (0, 0.4, 0, 0),
        (0, 1.7, 0, 0),
        (33, 0.8, -0.7, 0.9),
    ],
)
def test_movements_agree_with_a_loop(
    rotation: float, zoom: float, x: float, y: float, horizontal_flip: bool, vertical_flip: bool, fill: str
) -> None:
    image = random_images(1, side=11)[0]
    angle = np.radians(rotation)
    # y points down, so that this turns counter-clockwise on the screen.
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    move = np.array([[1, 0, x * 11], [0, 1, y * 11], [0, 0, 1]])
    flip = np.diag([-1.0 if horizontal_flip else 1.0, -1.0 if vertical_flip else 1.0, 1.0])
    expected = affine_by_loop(image, move @ turn @ np.diag([zoom, zoom, 1]) @ flip, fill)
    changed = change(
        image,
        fill,
        rotation=rotation,
        zoom=zoom,
        translation_x=x,
        translation_y=y,
        horizontal_flip=horizontal_flip,
        vertical_flip=vertical_flip,
    )
    assert np.abs(changed - expected).max() < 0.02


@pytest.mark.parametrize("rotation", [-20.0, 7.0, 45.0, 90.0])
def test_rotation_agrees_with_pillow_inside_the_picture(rotation: float) -> None:
    image = smooth_image()
    expected = from_pillow(to_pillow(image).rotate(rotation, Image.Resampling.BILINEAR))
    difference = np.abs(change(image, "black", rotation=rotation) - expected)
    y, x = np.mgrid[:33, :33] - 16
    # Pillow cuts the interpolated value down to a whole number.
    assert difference[:, np.hypot(x, y) < 15].max() <= 1.01


def test_translation_and_zoom_agree_with_pillow_inside_the_picture() -> None:
    image = smooth_image()
    # Pillow maps an output to an input position, in pixels from the upper left corner.
    matrix = (1 / 1.2, 0, 16.5 - (16.5 + 3.3) / 1.2, 0, 1 / 1.2, 16.5 - (16.5 - 1.65) / 1.2)
    expected = from_pillow(
        to_pillow(image).transform((33, 33), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )
    changed = change(image, "black", zoom=1.2, translation_x=0.1, translation_y=-0.05)
    assert np.abs(changed - expected)[:, 2:-2, 2:-2].max() <= 1.01


@pytest.mark.parametrize("side", [32, 33])
def test_flips_alone_are_exact(side: int) -> None:
    image = random_images(1, side=side)[0]
    mirrored, flipped = ImageOps.mirror(to_pillow(image)), ImageOps.flip(to_pillow(image))
    np.testing.assert_array_equal(change(image, horizontal_flip=True), from_pillow(mirrored))
    np.testing.assert_array_equal(change(image, vertical_flip=True), from_pillow(flipped))
    np.testing.assert_array_equal(
        change(image, horizontal_flip=True, vertical_flip=True), from_pillow(ImageOps.flip(mirrored))
    )


@pytest.mark.parametrize(("fill", "mode"), [("mirror", "symmetric"), ("black", "constant")])
@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, -1), (-3, 3), (0, 12), (-11, 0)])
def test_shifts_are_numpys_padding_cut_out_again(right: int, down: int, fill: str, mode: Any) -> None:
    image = random_images(1, side=12)[0][:, :, :11]
    padded = np.pad(image, [(0, 0), (12, 12), (12, 12)], mode=mode)
    expected = padded[:, 12 - down : 24 - down, 12 - right : 23 - right]
    np.testing.assert_array_equal(change(image, fill, shift_x=right, shift_y=down), expected)
    np.testing.assert_array_equal(
        change(image, fill, shift_x=right, shift_y=down, horizontal_flip=True), expected[:, :, ::-1]
    )


def test_a_shift_is_a_translation_without_blur() -> None:
    image = random_images(1)[0]
    shifted = change(image, shift_x=2, shift_y=-1)
    assert np.abs(shifted - change(image, translation_x=2 / 32, translation_y=-1 / 32)).max() < 0.01


@pytest.mark.parametrize("cutout", [0.125, 0.25, 0.3, 1.0])
def test_cutout_agrees_with_a_loop(cutout: float) -> None:
    image = np.maximum(random_images(1, side=16)[0], 1)
    side_px = round(16 * cutout)
    for centre_x, centre_y in [(0.5, 0.5), (0.0, 0.99), (0.99, 0.3), (0.03, 0.01)]:
        expected = image.copy()
        for row, column in np.ndindex(16, 16):
            first_row, first_column = int(centre_y * 16) - side_px // 2, int(centre_x * 16) - side_px // 2
            if 0 <= row - first_row < side_px and 0 <= column - first_column < side_px:
                expected[:, row, column] = 0
        np.testing.assert_array_equal(
            change(image, cutout=cutout, cutout_x=centre_x, cutout_y=centre_y), expected
        )


def test_a_crop_shows_a_part_enlarged() -> None:
    image = smooth_image(32)
    # A quarter of the area, all as wide as high: half of the side. At the left, three quarters down.
    changed = change(image, crop_area=0.25, crop_log_ratio=0, crop_x=0, crop_y=0.75)
    part = to_pillow(image).transform(
        (32, 32), Image.Transform.EXTENT, (0, 12, 16, 28), Image.Resampling.BILINEAR
    )
    inner = np.abs(changed - from_pillow(part))[:, 2:-2, 2:-2]
    assert inner.max() < 1.01
    whole = change(image, crop_area=1, crop_log_ratio=0, crop_x=0.2, crop_y=0.9)
    assert np.abs(whole - image).max() < 0.01
    mirrored = change(image, crop_area=0.25, crop_log_ratio=0, crop_x=0, crop_y=0.75, horizontal_flip=True)
    of_mirrored = change(
        np.ascontiguousarray(image[:, :, ::-1]), crop_area=0.25, crop_log_ratio=0, crop_x=0, crop_y=0.75
    )
    assert np.abs(mirrored - of_mirrored).max() < 0.1


def test_an_oblong_crop_is_as_wide_as_its_ratio_says() -> None:
    image = smooth_image(32)
    ratio = 4 / 3
    changed = change(image, crop_area=0.48, crop_log_ratio=np.log(ratio), crop_x=0.5, crop_y=0.5)
    width, height = 32 * np.sqrt(0.48 * ratio), 32 * np.sqrt(0.48 / ratio)
    box = ((32 - width) / 2, (32 - height) / 2, (32 + width) / 2, (32 + height) / 2)
    part = to_pillow(image).transform((32, 32), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    assert np.abs(changed - from_pillow(part))[:, 2:-2, 2:-2].max() < 1.01
