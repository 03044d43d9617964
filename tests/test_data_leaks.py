"""How far a split leaks, and what that does to an accuracy."""

import numpy as np
import pytest

from kilnet.data.leaks import find_leaks


def test_a_leak_is_counted_and_its_worth_estimated():
    random = np.random.default_rng(0)
    train = random.integers(0, 256, (200, 32, 32, 3), np.uint8)
    others = random.integers(0, 256, (100, 32, 32, 3), np.uint8)  # noise: a guess among two classes
    thumbnails = np.concatenate([train, train[:50], others])
    labels = np.concatenate([np.arange(200) % 2, np.arange(50) % 2, np.arange(100) % 2])
    groups = np.concatenate([np.arange(200), np.arange(50), 1000 + np.arange(100)])
    splits = {"train": range(200), "validation": [], "test": range(200, 350)}
    (leak,) = find_leaks(thumbnails, labels, groups, splits)
    assert (leak.split, leak.num_leaking, leak.num_images) == ("test", 50, 150)
    assert leak.points == pytest.approx(
        100 / 3 * 0.5, abs=5
    )  # a third is known, the others are right half the time
    assert leak.told.startswith(
        "the split leaks: 50 of 150 test images are equal, alike or of one group with some of"
    )
    assert "points" in leak.told


def test_a_few_images_tell_no_worth():
    thumbnails = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)
    groups = np.arange(30)
    groups[29] = 0
    splits = {"train": range(20), "test": range(20, 30)}
    (leak,) = find_leaks(thumbnails, np.arange(30) % 2, groups, splits)
    assert leak.points is None
    assert "points" not in leak.told


def test_a_split_without_a_leak_says_nothing():
    thumbnails = np.zeros((30, 32, 32, 3), np.uint8)
    assert (
        find_leaks(thumbnails, np.arange(30) % 2, np.arange(30), {"train": range(20), "test": range(20, 30)})
        == ()
    )
