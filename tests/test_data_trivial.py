"""One random change of each image, compared with what Pillow makes of it."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from kilnet.config import AugmentConfig
from kilnet.data import trivial
from kilnet.data.augment import Augmentation

WIDTH, HEIGHT = 24, 16


def picture(seed=0):
    pixels = np.random.default_rng(seed).integers(30, 220, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1))


def as_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()


def changed(name, level, is_negative=False, image=None, fill="black"):
    sign = torch.tensor([-1.0 if is_negative else 1.0])
    pixels = as_tensor(image or picture())
    return trivial.CHANGES[name](pixels, torch.tensor([level]), sign, fill)


def affine(a, b, c, d, e, f):
    return picture().transform(
        (WIDTH, HEIGHT), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )


def turned(degrees):
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = WIDTH / 2, HEIGHT / 2
    return affine(cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y)


BY_PILLOW = [
    ("brightness", 20, True, lambda: ImageEnhance.Brightness(picture()).enhance(1 - 0.66)),
    ("contrast", 30, False, lambda: ImageEnhance.Contrast(picture()).enhance(1.99)),
    ("saturation", 15, True, lambda: ImageEnhance.Color(picture()).enhance(1 - 0.495)),
    ("sharpness", 30, False, lambda: ImageEnhance.Sharpness(picture()).enhance(1.99)),
    ("sharpness", 30, True, lambda: ImageEnhance.Sharpness(picture()).enhance(0.01)),
    ("fewer values", 30, False, lambda: ImageOps.posterize(picture(), 2)),
    ("inverted highlights", 15, False, lambda: ImageOps.solarize(picture(), 128)),
    ("full contrast", 3, False, lambda: ImageOps.autocontrast(picture())),
    ("equal histogram", 3, False, lambda: ImageOps.equalize(picture())),
    ("shear along x", 10, False, lambda: affine(1, 0.33, -0.33 * HEIGHT / 2, 0, 1, 0)),
    ("shear along y", 10, True, lambda: affine(1, 0, 0, -0.33, 1, 0.33 * WIDTH / 2)),
    ("shift along x", 30, False, lambda: affine(1, 0, WIDTH / 7, 0, 1, 0)),
    ("shift along y", 30, True, lambda: affine(1, 0, 0, 0, 1, -HEIGHT / 7)),
    ("rotation", 10, False, lambda: turned(45)),
    ("rotation", 30, True, lambda: turned(-135)),
    ("nothing", 30, False, picture),
]


@pytest.mark.parametrize(("name", "level", "is_negative", "by_pillow"), BY_PILLOW)
def test_each_change_is_that_of_pillow(name, level, is_negative, by_pillow):
    expected = as_tensor(by_pillow())
    found = changed(name, level, is_negative)
    is_inside = torch.ones_like(expected, dtype=torch.bool)
    if name.startswith(("rot", "sh")) and name != "sharpness":  # Pillow leaves out what is half outside
        white = Image.new("RGB", (WIDTH, HEIGHT), "white")
        is_inside = (expected > 0) & (changed(name, level, is_negative, white) > 254.9)
        assert is_inside.float().mean() > 0.4
    assert (found - expected).abs()[is_inside].max() < 1.6  # its results are rounded, some of them twice


def test_every_change_is_compared_with_pillow():
    assert {name for name, *_ in BY_PILLOW} == set(trivial.CHANGES)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_gets_the_same_bytes_in_every_batch_and_stays_in_range(channels):
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (200, channels, 16, 16), np.uint8))
    pixels[7] = 90  # one value throughout
    augmentation = Augmentation.draw(AugmentConfig(trivial=True), 200, seed=1, epoch=2)
    whole = augmentation(pixels, torch.arange(200))
    assert whole.min() >= 0
    assert whole.max() <= 255
    for indices in ([7], [3, 199, 50], list(range(60, 90))):
        assert torch.equal(augmentation(pixels[indices], torch.tensor(indices)), whole[indices])
    again = Augmentation.draw(AugmentConfig(trivial=True), 200, seed=1, epoch=2)
    assert torch.equal(again(pixels, torch.arange(200)), whole)
    other = Augmentation.draw(AugmentConfig(trivial=True), 200, seed=1, epoch=3)
    assert not torch.equal(other(pixels, torch.arange(200)), whole)


def test_changes_and_strengths_are_equally_likely_and_grey_images_keep_the_saturation():
    drawn = trivial.draw(28_000, seed=0, epoch=0)
    counts = np.bincount((drawn["trivial_change"] * 14).astype(int), minlength=14)
    assert len(trivial.CHANGES) == 14
    assert np.abs(counts - 2000).max() < 5 * math.sqrt(2000)
    assert np.array_equal(np.unique(drawn["trivial_level"]), np.arange(31))
    assert abs(drawn["trivial_negative"].mean() - 0.5) < 0.02
    asked = []
    everything = {
        name: lambda pixels, *_, name=name: asked.append(name) or pixels for name in trivial.CHANGES
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trivial, "CHANGES", everything)
        parts = [torch.from_numpy(drawn[f"trivial_{part}"][:500]) for part in ("change", "level", "negative")]
        trivial.change(torch.zeros(500, 1, 4, 4), *parts, "mirror")
    assert set(asked) == set(trivial.CHANGES) - {"nothing", "saturation"}
