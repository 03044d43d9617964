import numpy as np
import pytest

from kilnet.config import DataConfig
from kilnet.data.dataset import Split
from kilnet.data.splits import Rows, _equal, complete, content_hashes, shuffled
from kilnet.errors import DataError


def make_split(labels: list[int], pictures: list[int] | None = None) -> Split:
    """Random 4 × 4 images; equal numbers in `pictures` are equal images."""
    pool = np.random.default_rng(1).integers(0, 256, (10_000, 3, 4, 4), dtype=np.uint8)
    images = pool[pictures if pictures is not None else range(len(labels))]
    return Split(images, np.array(labels, np.int64), tuple(f"{i:05}" for i in range(len(labels))))


CLASSES = ("ash", "birch", "cedar")


def test_parts_are_complete_disjoint_and_stratified():
    whole = make_split([0] * 100 + [1] * 60 + [2] * 40)
    parts = complete(whole, None, None, CLASSES, DataConfig())
    names = [name for part in parts for name in part.names]
    assert sorted(names) == sorted(whole.names)
    # 20 % of each class for the test, then 10 % of the rest
    assert [np.bincount(part.labels).tolist() for part in parts] == [[72, 43, 29], [8, 5, 3], [20, 12, 8]]
    for part in parts:
        for name, image, label in zip(part.names, part.images, part.labels, strict=True):
            np.testing.assert_array_equal(image, whole.images[int(name)])
            assert label == whole.labels[int(name)]


def test_same_split_seed_same_split_other_seed_other_split():
    whole = make_split([0, 1, 2] * 30)

    def test_names(seed: int) -> tuple[str, ...]:
        return complete(whole, None, None, CLASSES, DataConfig(split_seed=seed))[2].names

    assert test_names(0) == test_names(0)
    assert test_names(0) != test_names(1)


def test_given_splits_are_left_alone():
    train, test = make_split([0, 1, 2] * 10), make_split([0, 1, 2] * 3)
    kept, validation, same_test = complete(train, None, test, CLASSES, DataConfig())
    assert same_test is test
    assert len(kept) + len(validation) == 30


def first_of_each(values):
    """Return the place of the first value that is equal to each."""
    return [values.index(value) for value in values]


@pytest.mark.parametrize("side", [4, 5])  # 48 bytes, which are whole words of eight, and 75
def test_equal_images_are_those_of_their_bytes(side):
    chance = np.random.default_rng(side)
    images = chance.integers(0, 256, (200, 3, side, side), dtype=np.uint8)[chance.integers(0, 200, 500)]
    every = np.arange(len(images))
    groups = _equal(images, every)
    contents = [image.tobytes() for image in images]
    assert first_of_each(contents) == first_of_each(groups.tolist())
    some = chance.permutation(len(images))[:300]
    groups = _equal(images, some)
    contents = [images[row].tobytes() for row in some]
    assert first_of_each(contents) == first_of_each(groups.tolist())
    images[7], images[9] = images[8], images[8]
    images[7, 0, 0, 0] ^= 1  # one bit
    groups = _equal(images, every)
    assert groups[7] != groups[8] == groups[9]
    zeros = np.zeros_like(images)
    zeros[:, 1] = images[:, 1]  # images of one channel lie apart in memory
    contents = [image.tobytes() for image in images[:, 1:2]]
    groups = _equal(zeros[:, 1:2], every)
    assert first_of_each(contents) == first_of_each(groups.tolist())


@pytest.mark.parametrize("seed", range(10))
def test_equal_pictures_are_never_parted(seed):
    labels = [i % 3 for i in range(90)]
    pictures = [i // 9 * 3 + i % 3 for i in range(90)]  # each picture three times, ten pictures a class
    parts = complete(make_split(labels, pictures), None, None, CLASSES, DataConfig(split_seed=seed))
    hashes = [set(content_hashes(part.images)) for part in parts]
    assert not hashes[0] & hashes[1]
    assert not hashes[0] & hashes[2]
    assert not hashes[1] & hashes[2]
    assert all(set(part.labels) == {0, 1, 2} for part in parts)


def test_equal_pictures_in_two_classes_stay_together():
    labels = [0] * 10 + [1] * 10
    pictures = list(range(10)) + list(range(5)) + list(range(10, 15))
    for seed in range(10):
        parts = complete(make_split(labels, pictures), None, None, CLASSES[:2], DataConfig(split_seed=seed))
        hashes = [set(content_hashes(part.images)) for part in parts]
        assert not hashes[0] & (hashes[1] | hashes[2])
        assert not hashes[1] & hashes[2]


def test_three_pictures_a_class_are_one_in_each_split():
    parts = complete(make_split([0, 0, 0, 1, 1, 1, 2, 2, 2]), None, None, CLASSES, DataConfig())
    assert [sorted(part.labels) for part in parts] == [[0, 1, 2]] * 3


def test_too_few_different_pictures_name_the_class():
    with pytest.raises(DataError, match=r"class cedar has 2 different images, too few to split into 3 parts"):
        complete(
            make_split([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 3, 4, 5, 6, 7, 7]),
            None,
            None,
            CLASSES,
            DataConfig(),
        )


def test_num_train_takes_the_first_after_the_split():
    whole = make_split([0, 1, 2] * 30)
    all_of_it = complete(whole, None, None, CLASSES, DataConfig())
    some_of_it = complete(whole, None, None, CLASSES, DataConfig(num_train=7))
    assert some_of_it[0].names == all_of_it[0].names[:7]
    assert some_of_it[1].names == all_of_it[1].names
    assert some_of_it[2].names == all_of_it[2].names


def test_hashes_tell_pictures_apart():
    images = make_split([0] * 4, [3, 5, 3, 6]).images
    hashes = content_hashes(images)
    assert hashes[0] == hashes[2]
    assert len(set(hashes)) == 3


def test_each_image_is_copied_once_however_often_it_is_dealt(monkeypatch):
    whole, taken = make_split([0, 1, 2] * 30), []
    take = Split.take
    monkeypatch.setattr(Split, "take", lambda split, rows: taken.append(len(rows)) or take(split, rows))
    parts = complete(shuffled(Rows.of(whole), 0), None, None, CLASSES, DataConfig(num_train=50))
    assert taken == [len(part) for part in parts]
    assert taken[0] == 50


def test_all_rows_in_their_order_are_the_split_itself():
    whole = make_split([0, 1, 2] * 3)
    assert Rows.of(whole).split() is whole
    assert Rows.of(whole).take(np.arange(9)[::-1]).split().names == whole.names[::-1]
