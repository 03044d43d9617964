"""What is said of pictures that must not be parted; test_data_groups.py splits them."""

import numpy as np

from kilnet.data.dataset import Split
from kilnet.data.pictures import Pictures
from kilnet.data.together import group_warnings, kept_together, near_notice


def part(labels, groups):
    images = np.zeros((len(labels), 1, 2, 2), np.uint8)
    names = tuple(map(str, range(len(labels))))
    return Split(
        images, np.array(labels, np.int64), names, None if groups is None else np.array(groups, np.int64)
    )


def test_a_class_that_a_split_lacks_is_named():
    parts = {"train": part([0, 1, 2], [0, 1, 2]), "test": part([0], [3])}
    told = "test has no image of class b and 1 more, which stand in too few groups"
    assert group_warnings(("a", "b", "c"), parts) == (told,)
    assert group_warnings(("a", "b", "c"), parts, given=("test",)) == ()


def test_groups_on_both_sides_are_counted_by_image():
    parts = {
        "train": part([0, 1], [7, 8]),
        "validation": part([0, 1], [9, 10]),
        "test": part([0, 1, 1], [8, 8, 9]),
    }
    found = group_warnings(("a", "b"), parts, given=("train", "test"))
    assert [warning.split(" are equal")[0] for warning in found] == [
        "the given split leaks: 2 of 3 test images",
        "the given split leaks: 1 of 3 test images",
    ]
    assert group_warnings(("a", "b"), parts) == ()  # Kilnet's own splits part no group


def test_equal_pictures_leak_without_groups_too():
    parts = {"train": part([0, 1], None), "test": part([0, 1, 1], None)}  # all are black
    (warning,) = group_warnings(("a", "b"), parts, given=("train", "test"))
    assert warning.startswith(
        "the given split leaks: 3 of 3 test images are equal, alike or of one group with some of"
    )


def test_near_duplicates_stay_together_unless_it_is_said_otherwise():
    random = np.random.default_rng(0)
    thumbnails = random.integers(0, 256, (30, 32, 32, 3), np.uint8)
    thumbnails[1] = np.clip(thumbnails[0] * 0.9, 0, 255)
    pictures = Pictures(
        images=thumbnails.transpose(0, 3, 1, 2).copy(),
        sizes=np.full((30, 2), 32),
        hashes=np.arange(30, dtype=np.uint64),
        thumbnails=thumbnails,
        indices=np.arange(30),
        paths=tuple(map(str, range(30))),
        problems=(),
        warnings=(),
    )
    groups = kept_together(pictures, None, "together")
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 29
    assert near_notice(groups).startswith("2 pictures in 1 groups show nearly the same")
    assert kept_together(pictures, None, "apart") is None
    named = kept_together(pictures, [str(index) for index in range(30)], "together")
    assert len(set(named.tolist())) == 30  # groups of the user say what belongs together


def test_without_groups_nothing_is_said():
    assert group_warnings(("a", "b"), {"train": part([0, 1], None), "test": part([0], None)}) == ()
