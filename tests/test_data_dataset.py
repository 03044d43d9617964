"""Images in memory: what fits together, what is sealed, and what makes two data sets the same."""

from dataclasses import replace

import numpy as np
import pytest

from kilnet.data.dataset import ImageDataset, Split, one_split, split_name
from kilnet.errors import DataError


def split_of(num_images, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (num_images, 3, 4, 5), np.uint8)
    return Split(images, np.arange(num_images) % 2, tuple(f"{seed}/{i}" for i in range(num_images)))


@pytest.fixture
def dataset():
    return ImageDataset("made", ("a", "b"), split_of(6, 0), split_of(4, 1), split_of(2, 2))


def test_names_of_splits():
    for short in ("val", "valid", "validation"):
        assert split_name(short) == one_split(short) == "validation"
    assert split_name("all") == "all"
    with pytest.raises(DataError, match=r"`split='all'`: choose one of train, validation, test"):
        one_split("all")
    with pytest.raises(DataError, match="no split 'tset'"):
        split_name("tset")


def test_all_are_the_splits_one_after_another(dataset):
    found = dataset.split("all")
    assert found.names == dataset.train.names + dataset.validation.names + dataset.test.names
    np.testing.assert_array_equal(found.images[6:10], dataset.validation.images)
    np.testing.assert_array_equal(found.labels[10:], dataset.test.labels)
    assert dataset.image_shape == (3, 4, 5)


def test_some_images_are_taken_in_the_order_asked_for():
    split = split_of(6)
    taken = split.take(np.array([4, 1]))
    assert taken.names == ("0/4", "0/1")
    np.testing.assert_array_equal(taken.images, split.images[[4, 1]])
    np.testing.assert_array_equal(taken.labels, split.labels[[4, 1]])


def test_a_sealed_data_set_has_no_test_split(dataset):
    sealed = dataset.sealed()
    assert sealed.fingerprint == dataset.fingerprint
    for read in (lambda: sealed.test, lambda: sealed.split("test"), lambda: sealed.split("all")):
        with pytest.raises(DataError, match="sealed"):
            read()
    assert len(dataset.test) == 2


def test_the_fingerprint_follows_pixels_labels_and_classes_and_nothing_else(dataset):
    pixels, labels = dataset.train.images.copy(), dataset.validation.labels.copy()
    pixels[3, 2, 1, 0] ^= 1
    labels[0] = 1 - labels[0]
    renamed = replace(dataset.train, names=tuple("uvwxyz"))
    same = [replace(dataset, name="other", warnings=("one",)), replace(dataset, train=renamed)]
    others = [
        replace(dataset, classes=("a", "c")),
        replace(dataset, train=replace(dataset.train, images=pixels)),
        replace(dataset, validation=replace(dataset.validation, labels=labels)),
        replace(dataset, train=dataset.validation, validation=dataset.train),
    ]
    assert {one.fingerprint for one in same} == {dataset.fingerprint}
    assert len({one.fingerprint for one in [dataset, *others]}) == 5


@pytest.mark.parametrize(
    ("images", "labels", "part"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), [0, 1], "not float32"),
        (np.zeros((2, 2, 4, 4), np.uint8), [0, 1], "1 or 3"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], "must be uint8"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0], "2 images, 1 labels and 2 names"),
    ],
)
def test_what_is_no_split_is_refused(images, labels, part):
    with pytest.raises(DataError, match=part):
        Split(images, np.array(labels), ("x", "y"))


def test_one_class_and_empty_splits_are_refused(dataset):
    with pytest.raises(DataError, match="needs at least two"):
        replace(dataset, classes=("a",))
    for name in ("train", "validation"):
        with pytest.raises(DataError, match=f"the {name} split is empty"):
            replace(dataset, **{name: split_of(0)})


@pytest.mark.parametrize("classes", [("a", "a"), ("\u00e9", "e\u0301")])
def test_two_classes_of_one_name_are_refused(dataset, classes):
    with pytest.raises(DataError, match="made: two classes are called"):
        replace(dataset, classes=classes)


def test_classes_whose_names_are_no_text_have_a_fingerprint(dataset):
    named = [replace(dataset, classes=("a", name)) for name in ("\udcff", "\udcfe", "b")]
    assert len({one.fingerprint for one in named}) == 3
