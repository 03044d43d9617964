import colorsys
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats  # type: ignore[import-untyped]

from kilnet.config import AugmentConfig
from kilnet.data.augment import Augmentation
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ConfigError
from kilnet.recipes.reading import load_config

Array = npt.NDArray[Any]

EVERYTHING = AugmentConfig(
    rotation=20,
    translation=0.1,
    shift_px=3,
    zoom=0.2,
    horizontal_flip=0.5,
    vertical_flip=0.5,
    brightness=0.2,
    contrast=0.3,
    saturation=0.4,
    hue=0.1,
    cutout=0.25,
)
# What each key of the configuration draws, with its range for the values above.
DRAWN: dict[str, dict[str, tuple[float, float]]] = {
    "rotation": {"rotation": (-20, 20)},
    "translation": {"translation_x": (-0.1, 0.1), "translation_y": (-0.1, 0.1)},
    "zoom": {"zoom": (0.8, 1.2)},
    "brightness": {"brightness": (0.8, 1.2)},
    "contrast": {"contrast": (0.7, 1.3)},
    "saturation": {"saturation": (0.6, 1.4)},
    "hue": {"hue": (-0.1, 0.1)},
    "cutout": {"cutout_x": (0, 1), "cutout_y": (0, 1)},
}
UNIFORM = {name: limits for names in DRAWN.values() for name, limits in names.items()}
NAMES_BY_KEY = {
    **{key: set(names) for key, names in DRAWN.items()},
    "shift_px": {"shift_x", "shift_y"},
    "horizontal_flip": {"horizontal_flip"},
    "vertical_flip": {"vertical_flip"},
}


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


def shift_hue_by_loop(image: Array, shift: float) -> Array:
    result = np.empty(image.shape)
    for row, column in np.ndindex(image.shape[1:]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[:, row, column] / 255))
        result[:, row, column] = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
    return result * 255


# Values. Pillow cuts its results down to whole numbers, which is up to 1 off.


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


def test_shifts_are_whole_pixels_all_as_likely() -> None:
    drawn = Augmentation.draw(AugmentConfig(shift_px=2), 20_000, seed=0, epoch=0).parameters
    for name in ("shift_x", "shift_y"):
        values, counts = np.unique(drawn[name], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert stats.chisquare(counts).pvalue > 0.001


def test_alternating_flips_show_each_image_both_ways_in_two_epochs() -> None:
    config = AugmentConfig(horizontal_flip=0.5, alternate_flips=True)
    flips = [Augmentation.draw(config, 1000, 3, epoch).parameters["horizontal_flip"] for epoch in range(4)]
    assert 400 < int(flips[0].sum()) < 600
    assert torch.equal(flips[1], ~flips[0])
    assert torch.equal(flips[2], flips[0])
    assert torch.equal(flips[3], flips[1])
    other_seed = Augmentation.draw(config, 1000, 4, 0).parameters["horizontal_flip"]
    assert not torch.equal(other_seed, flips[0])
    # The first epoch is that of a run without.
    plain = Augmentation.draw(AugmentConfig(horizontal_flip=0.5), 1000, 3, 0).parameters
    assert torch.equal(plain["horizontal_flip"], flips[0])
    with pytest.raises(ConfigError, match="needs horizontal_flip above 0"):
        load_config(settings={"augment.alternate_flips": True})


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


def test_parameters_that_change_nothing_return_the_same_values() -> None:
    image = random_images(1, side=33)[0]
    for fill in ("mirror", "black"):
        changed = change(
            image, fill, rotation=0, translation_x=0, zoom=1, horizontal_flip=0, brightness=1, contrast=1,
            saturation=1, hue=0,
        )  # fmt: skip
        assert np.abs(changed - image).max() < 0.01


def test_values_stay_between_0_and_255() -> None:
    images = np.concatenate([random_images(256), (random_images(256) > 127) * np.uint8(255)])
    config = AugmentConfig(
        rotation=180, translation=1, zoom=0.9, brightness=3, contrast=3, saturation=3, hue=0.5, cutout=0.2
    )
    changed = Augmentation.draw(config, 512, seed=3, epoch=0)(torch.from_numpy(images), torch.arange(512))
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_all_together_agree_with_the_steps_in_their_order() -> None:
    image = smooth_image(16)
    moved = change(image, rotation=10, zoom=1.1, horizontal_flip=True).astype(np.float64)
    brighter = np.clip(moved * 1.8, 0, 255)
    luma = np.array([0.299, 0.587, 0.114])
    grey = np.tensordot(luma, brighter, 1).mean()
    harder = np.clip(grey + 1.5 * (brighter - grey), 0, 255)
    grey = np.tensordot(luma, harder, 1)
    stronger = np.clip(grey + 1.4 * (harder - grey), 0, 255)
    expected = shift_hue_by_loop(stronger, 0.15)
    expected[:, 6:10, 6:10] = 0
    changed = change(
        image, rotation=10, zoom=1.1, horizontal_flip=True, brightness=1.8, contrast=1.5, saturation=1.4,
        hue=0.15, cutout=0.25, cutout_x=0.5, cutout_y=0.5,
    )  # fmt: skip
    # The mean grey value is taken in steps of 1/256.
    assert np.abs(changed - expected).max() < 0.02


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


# Distributions, at fixed seeds: a true uniform distribution fails a p below 0.001 once in a thousand draws.


@pytest.mark.parametrize("name", UNIFORM)
def test_parameters_are_uniform_in_their_range(name: str) -> None:
    drawn = Augmentation.draw(EVERYTHING, 20_000, seed=0, epoch=0).parameters[name]
    assert drawn.dtype == torch.float32
    values = drawn.double().numpy()
    low, high = UNIFORM[name]
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.001
    # Mean of n uniform values: standard error (high - low) / sqrt(12 n).
    assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * 20_000)


def test_factors_never_fall_below_0() -> None:
    config = AugmentConfig(brightness=1.5, contrast=1.5, saturation=1.5)
    for name, values in Augmentation.draw(config, 5000, seed=0, epoch=0).parameters.items():
        assert 0 <= values.min() < 0.01, name
        assert 2.49 < values.max() <= 2.5, name


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
@pytest.mark.parametrize("rotation", [0.0, 1e-6])
def test_flips_come_as_often_as_asked(name: str, probability: float, rotation: float) -> None:
    num_images = 4000
    images = np.zeros((num_images, 1, 4, 4), dtype=np.uint8)
    images[:, :, 0, 0] = 200
    config = AugmentConfig.model_validate({name: probability, "rotation": rotation})
    changed = Augmentation.draw(config, num_images, 1, 0)(torch.from_numpy(images), torch.arange(num_images))
    corner = (0, 3) if name == "horizontal_flip" else (3, 0)
    num_flipped = int((changed[:, 0, corner[0], corner[1]] > 100).sum())
    assert stats.binomtest(num_flipped, num_images, probability).pvalue > 0.001


def test_parameters_are_independent_of_each_other() -> None:
    drawn = Augmentation.draw(EVERYTHING, 20_000, seed=0, epoch=0).parameters
    correlations = np.corrcoef([values.double().numpy() for values in drawn.values()])
    # 0.03 is four standard errors, 1 / sqrt(20,000) each.
    assert np.abs(correlations - np.eye(len(drawn))).max() < 0.03


def test_brightness_of_the_pixels_is_uniform() -> None:
    images = torch.full((5000, 3, 2, 2), 100, dtype=torch.uint8)
    augmentation = Augmentation.draw(AugmentConfig(brightness=0.2), 5000, seed=0, epoch=0)
    factors = augmentation(images, torch.arange(5000))[:, 0, 0, 0].numpy() / 100
    assert stats.kstest(factors, stats.uniform(0.8, 0.4).cdf).pvalue > 0.001


def test_cutout_reaches_every_pixel_and_is_clipped_at_the_border() -> None:
    images = torch.full((4000, 1, 16, 16), 1, dtype=torch.uint8)
    changed = Augmentation.draw(AugmentConfig(cutout=0.25), 4000, 0, 0)(images, torch.arange(4000))
    num_black = (changed == 0).sum(dim=(1, 2, 3))
    assert set(num_black.tolist()) <= {h * w for h in (2, 3, 4) for w in (2, 3, 4)}
    # Away from the border a pixel is covered by 16 of the 256 centres.
    covered = (changed == 0).float().mean(dim=(0, 1))[4:-4, 4:-4]
    assert (covered - 16 / 256).abs().max() < 4.5 * np.sqrt(16 / 256 / 4000)


# What a parameter depends on.


def test_the_batch_does_not_matter() -> None:
    images = torch.from_numpy(random_images(300, side=21))
    rng = np.random.default_rng(5)
    for config in (EVERYTHING, EVERYTHING.model_copy(update={"rotation": 0, "translation": 0, "zoom": 0})):
        augmentation = Augmentation.draw(config, 300, seed=2, epoch=7)
        together = augmentation(images, torch.arange(300))
        for i in range(0, 300, 7):
            assert torch.equal(augmentation(images[i : i + 1], torch.tensor([i]))[0], together[i])
        for size in (13, 150, 300):
            order = torch.from_numpy(rng.permutation(300))
            parts = [
                augmentation(images[part], part)
                for part in torch.tensor_split(order, tuple(range(size, 300, size)))
            ]
            assert torch.equal(torch.cat(parts), together[order])


def test_large_images_do_not_depend_on_the_batch() -> None:
    images = torch.from_numpy(random_images(3, side=301))
    augmentation = Augmentation.draw(EVERYTHING, 3, seed=2, epoch=7)
    together = augmentation(images, torch.arange(3))
    for i in range(3):
        assert torch.equal(augmentation(images[i : i + 1], torch.tensor([i]))[0], together[i])


def test_seed_and_epoch_decide_alone() -> None:
    def draw(seed: int, epoch: int, num_images: int = 100) -> dict[str, torch.Tensor]:
        return Augmentation.draw(EVERYTHING, num_images, seed, epoch).parameters

    for name, values in draw(1, 2).items():
        assert torch.equal(values, draw(1, 2)[name])
        assert not torch.equal(values, draw(1, 3)[name]), name
        assert not torch.equal(values, draw(2, 2)[name]), name
        assert torch.equal(values, draw(1, 2, num_images=500)[name][:100]), name


@pytest.mark.parametrize("key", NAMES_BY_KEY)
def test_switching_one_off_leaves_the_others_alone(key: str) -> None:
    drawn = Augmentation.draw(EVERYTHING, 50, seed=0, epoch=0).parameters
    without = Augmentation.draw(EVERYTHING.model_copy(update={key: 0.0}), 50, seed=0, epoch=0).parameters
    assert drawn.keys() - without.keys() == NAMES_BY_KEY[key]
    assert all(torch.equal(without[name], drawn[name]) for name in without)


def test_nothing_switched_on_returns_the_pixels() -> None:
    images = torch.from_numpy(random_images(4))
    changed = Augmentation.draw(AugmentConfig(), 4, seed=0, epoch=0)(images, torch.arange(4))
    assert changed.dtype == torch.uint8
    assert torch.equal(changed, images)


def test_the_stored_images_are_left_alone() -> None:
    images = torch.from_numpy(random_images(4))
    before = images.clone()
    for config in (EVERYTHING, AugmentConfig(cutout=0.5), AugmentConfig(horizontal_flip=1)):
        Augmentation.draw(config, 4, seed=0, epoch=0)(images, torch.arange(4))
        assert torch.equal(images, before)


def test_the_tutorial_preset_goes_through_preprocessing() -> None:
    config = load_config(settings={"augment": "tutorial"}).augment
    augmentation = Augmentation.draw(config, 64, seed=0, epoch=0)
    assert augmentation.parameters.keys() == {"rotation", "brightness", "hue", "horizontal_flip"}
    changed = augmentation(torch.from_numpy(random_images(64)), torch.arange(64))
    normalised = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (32, 32))(changed)
    assert normalised.shape == (64, 3, 32, 32)
    torch.testing.assert_close(normalised, (changed / 255 - 0.5) / 0.25, rtol=0, atol=1e-5)
