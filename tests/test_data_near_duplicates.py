"""Pictures that show nearly the same: copies are found, other pictures are not named."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from kilnet.data import near_duplicates as module
from kilnet.data.near_duplicates import SIDE, near_duplicates


def scenes(num, seed=0, side=96):
    """Return pictures of soft blobs of random colours, no two alike."""
    random = np.random.default_rng(seed)
    for _ in range(num):
        pixels = random.integers(0, 256, (7, 7, 3), np.uint8)
        yield (
            Image.fromarray(pixels)
            .resize((side, side), Image.Resampling.BICUBIC)
            .filter(ImageFilter.GaussianBlur(2))
        )


def saved(image, quality=60):
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


COPIES = {
    "saved again": lambda image: saved(image, 40),
    "scaled": lambda image: image.resize((50, 50), Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((4, 0, 95, 91)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
}


def thumbnails(images):
    return np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) for image in images])


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else_is(kind):
    images = list(scenes(150))
    copies = [saved(COPIES[kind](image)) for image in images[:50]]
    found = near_duplicates(thumbnails(images + copies))
    planted = {(index, 150 + index) for index in range(50)}
    assert len(planted & set(map(tuple, found.tolist()))) >= 49
    assert len(set(map(tuple, found.tolist())) - planted) == 0


def test_flat_pictures_are_compared_with_nothing():
    flat = np.full((30, SIDE, SIDE, 3), 120, np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
    assert near_duplicates(flat).shape == (0, 2)
    assert near_duplicates(flat[:1]).shape == (0, 2)
    assert near_duplicates(flat[:0]).shape == (0, 2)


def test_pictures_that_are_all_alike_are_told_apart_by_what_is_left():
    """As X-rays are: one scene with differences of a few percent; only real copies count."""
    (scene,) = scenes(1)
    base = thumbnails([scene])[0].astype(np.float64)
    own = thumbnails(scenes(200, seed=1)).astype(np.float64)
    pictures = np.clip(0.8 * base + 0.2 * own, 0, 255).astype(np.uint8)
    copies = np.clip(pictures[:10] * 1.02, 0, 255).astype(np.uint8)
    found = set(map(tuple, near_duplicates(np.concatenate([pictures, copies])).tolist()))
    planted = {(index, 200 + index) for index in range(10)}
    assert planted <= found
    assert len(found - planted) <= 2


def test_long_chains_are_cut(monkeypatch):
    random = np.random.default_rng(0)
    base = thumbnails(scenes(2)).astype(np.float64)
    walk = np.stack([base[0] * (1 - t) + base[1] * t for t in np.linspace(0, 1, 100)])
    others = thumbnails(scenes(300, seed=1))
    pictures = np.concatenate(
        [(walk + random.normal(0, 1, walk.shape)).clip(0, 255).astype(np.uint8), others]
    )
    found = near_duplicates(pictures)
    assert len(found) > 0
    groups = module._without_chains(found, np.zeros(len(found), np.float32), len(pictures))
    assert len(groups) <= len(found)
    chained = {index for pair in found.tolist() for index in pair}
    assert len(chained) <= 100
    from kilnet.data.groups import joined_groups

    assert np.bincount(joined_groups(len(pictures), [], found)).max() <= 20


def test_of_very_many_pictures_the_same_copies_are_found(monkeypatch):
    images = list(scenes(400))
    change = list(COPIES.values())
    copies = [saved(change[place % len(change)](image)) for place, image in enumerate(images[:100])]
    small = thumbnails(images + copies)
    planted = {(index, 400 + index) for index in range(100)}
    every = set(map(tuple, near_duplicates(small).tolist()))
    monkeypatch.setattr(module, "MAX_ALL_PAIRS", 34)
    found = near_duplicates(small)
    assert (found[:, 0] < found[:, 1]).all()
    assert set(map(tuple, found.tolist())) <= every
    assert len(planted & set(map(tuple, found.tolist()))) >= 0.97 * len(planted & every)


def test_pictures_are_compared_once_and_again_where_they_or_the_rule_change(monkeypatch, own_cache):
    pictures = thumbnails(list(scenes(12)))
    pictures[7] = pictures[2]
    compared = []

    def counting(given):
        compared.append(len(given))
        return near_duplicates(given)

    monkeypatch.setattr(module, "near_duplicates", counting)
    expected = near_duplicates(pictures).tolist()
    assert [2, 7] in expected
    for _ in range(2):
        assert module.kept_near_duplicates(pictures).tolist() == expected
    assert compared == [12]
    assert len(module.kept_near_duplicates(pictures[:6])) == 0
    assert module.kept_near_duplicates(pictures[:6]).shape == (0, 2)
    assert compared == [12, 6]
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    module.kept_near_duplicates(pictures)
    assert compared == [12, 6, 12]
    for path in (own_cache / "near").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # of a number, or of the head where there is none
        path.write_bytes(content)
    assert module.kept_near_duplicates(pictures).tolist() == expected
    assert compared == [12, 6, 12, 12]
