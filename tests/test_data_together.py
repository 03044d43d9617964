"""What is said of pictures that must not be parted; test_data_groups.py splits them."""

import numpy as np

from kilnet.data.dataset import Split
from kilnet.data.together import group_warnings


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
    assert [warning.split(" belong")[0] for warning in group_warnings(("a", "b"), parts)] == [
        "the given split leaks: 2 of 3 test images",
        "the given split leaks: 1 of 3 test images",
    ]


def test_without_groups_nothing_is_said():
    assert group_warnings(("a", "b"), {"train": part([0, 1], None), "test": part([0], None)}) == ()
