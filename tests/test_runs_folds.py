"""Folds, and a network for each."""

import numpy as np
import pytest

from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.splits import folds
from kilnet.errors import DataError, RunFolderError
from kilnet.recipes.reading import load_config
from kilnet.runs.folds import CrossValidation
from kilnet.training.run_folder import RunFolder


def dataset(num_images=90, copies=30):
    """Stripes across are 0, stripes down are 1; some pictures stand there twice."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (num_images, 1, 12, 12))
    labels = np.arange(num_images) % 2
    images[labels == 0, :, ::2] += 150
    images[labels == 1, :, :, ::2] += 150
    images, labels = images.astype(np.uint8), labels.astype(np.int64)
    images[-copies:] = images[:copies]
    names = tuple(map(str, range(num_images)))
    train, validation = slice(0, None), slice(0, 20)
    return ImageDataset(
        "stripes",
        ("across", "down"),
        Split(images[train], labels[train], names[train]),
        Split(images[validation], labels[validation], names[validation]),
        None,
    )


def test_folds_are_even_and_never_part_equal_pictures():
    split = dataset().train
    fold_of = folds(split, 4, seed=1)
    assert set(np.bincount(fold_of)) <= set(range(18, 28))
    np.testing.assert_array_equal(fold_of[-30:], fold_of[:30])
    for label in (0, 1):
        distinct = fold_of[:60][split.labels[:60] == label]
        assert np.ptp(np.bincount(distinct, minlength=4)) <= 1
    np.testing.assert_array_equal(folds(split, 4, seed=1), fold_of)
    assert (folds(split, 4, seed=2) != fold_of).any()
    for number in (1, 61):
        with pytest.raises(DataError, match=f"{number} folds"):
            folds(split, number, seed=0)


SMALL = {
    "model.c1": 3,
    "model.c2": 3,
    "model.l1": 4,
    "training.epochs": 3,
    "training.batch_size": 10,
    "optimizer.lr": 0.01,
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
}


def test_cross_validation_predicts_each_image_without_having_trained_on_it(tmp_path):
    data = dataset()
    config = load_config(settings=SMALL)
    validation = CrossValidation(data, config, RunFolder(tmp_path), 3)
    with pytest.raises(RunFolderError):
        validation.logits()
    seen = []
    for fold in validation:
        assert len(fold.indices) + len(fold.session._dataset.train) == 90
        held_out = {image.tobytes() for image in data.train.images[fold.indices]}
        assert held_out.isdisjoint(image.tobytes() for image in fold.session._dataset.train.images)
        seen.extend(fold.indices)
        for _ in fold.session:
            pass
    assert sorted(seen) == list(range(90))
    logits = validation.logits()
    assert (logits.shape, logits.dtype) == ((90, 2), np.float32)
    assert (logits.argmax(1) == data.train.labels).mean() > 0.8
    again = CrossValidation(data, config, RunFolder(tmp_path), 3)
    assert all(fold.session.loop.finished for fold in again)
    np.testing.assert_array_equal(again.logits(), logits)
