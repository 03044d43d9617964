"""Images and labels as two sequences."""

import numpy as np
import pytest
import torch
from PIL import Image

from kilnet.data.labelled_arrays import MAX_SIDE_PX, LabelledArrays, as_pairs
from kilnet.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "labels", [np.array([1, 0, 1, 2]), [1, 0, 1, 2], (1, 0, 1, 2), torch.tensor([1, 0, 1, 2])]
)
def test_arrays_tensors_and_lists_are_pairs(labels):
    for images in (IMAGES, torch.as_tensor(IMAGES), list(IMAGES)):
        pairs = as_pairs((images, labels))
        assert len(pairs) == 4
        assert [pairs[index][1] for index in range(4)] == [1, 0, 1, 2]
        np.testing.assert_array_equal(np.asarray(pairs[2][0]), IMAGES[2])


def test_names_are_classes_in_order():
    pairs = LabelledArrays(IMAGES, ["dog", "cat", "dog", "ant"])
    assert pairs.classes == ("ant", "cat", "dog")
    assert [pairs[index][1] for index in range(4)] == [2, 1, 2, 0]


def test_pairs_stay_pairs():
    two = ((IMAGES[0], 0), (IMAGES[1], 1))
    assert as_pairs(two) is two
    tensors = ((torch.as_tensor(IMAGES[0]), torch.tensor(0)), (torch.as_tensor(IMAGES[1]), torch.tensor(1)))
    assert as_pairs(tensors) is tensors
    assert as_pairs([*two, *two]) == [*two, *two]


def test_paths_are_read_and_large_photographs_reduced(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "small.png")
    Image.new("RGB", (2 * MAX_SIDE_PX, MAX_SIDE_PX)).save(tmp_path / "large.png")
    pairs = as_pairs(([tmp_path / "small.png", str(tmp_path / "large.png")], ["a", "b"]))
    np.testing.assert_array_equal(pairs[0][0], IMAGES[0])
    assert pairs[1][0].shape == (MAX_SIDE_PX // 2, MAX_SIDE_PX, 3)
    with pytest.raises(DataError, match=r"missing\.png: "):
        as_pairs(([tmp_path / "missing.png", tmp_path / "small.png"], [0, 1]))[0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 1], "4 images and 3 labels do not match"),
        (np.eye(4), "one whole number, or one class name, per image"),
        ([0.5, 1, 1, 2], "one whole number"),
        ("abcd", "one whole number"),
    ],
)
def test_labels_that_do_not_fit_are_one_line(labels, message):
    with pytest.raises(DataError, match=message):
        as_pairs((IMAGES, labels))
