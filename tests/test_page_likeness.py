"""The order of classes by what is confused."""

from itertools import pairwise

import numpy as np
import pytest

from kilnet.page.likeness import order_by_likeness


@pytest.mark.parametrize("num_classes", [30, 210])
def test_confused_classes_stand_together(num_classes):
    """Class i is taken for the class that has the same remainder by a third of the number of classes."""
    third = num_classes // 3
    confusion = np.diag(np.full(num_classes, 10))
    for truth in range(num_classes):
        confusion[truth, (truth + third) % num_classes] = 5
    order = order_by_likeness(confusion)
    assert sorted(order) == list(range(num_classes))
    groups = [number % third for number in order]
    assert sum(a != b for a, b in pairwise(groups)) == third - 1


def test_classes_without_images_and_without_mistakes_have_an_order_too():
    assert sorted(order_by_likeness(np.zeros((5, 5), np.int64))) == [0, 1, 2, 3, 4]
    assert order_by_likeness(np.array([[3, 1], [2, 5]])) == [0, 1]
