"""Splits and folds of whole groups."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from kilnet.data.grouped_splits import grouped_folds, grouped_part
from kilnet.errors import DataError

CLASSES = ("a", "b", "c")


def made_up(num_groups=60, seed=0):
    """Return labels and groups: groups of 1 to 20 images, some with several classes."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 21, num_groups)
    groups = np.repeat(np.arange(num_groups), sizes)
    main = random.choice(3, num_groups, p=[0.6, 0.3, 0.1])[groups]
    labels = np.where(random.random(len(groups)) < 0.8, main, random.integers(0, 3, len(groups)))
    return labels, random.permutation(1000)[groups]


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_whole_groups_and_nearly_their_share_of_each_class(seed):
    labels, groups = made_up(seed=seed)
    chosen = grouped_part(labels, groups, CLASSES, 0.2, seed, "test", num_further=1)
    assert not set(groups[chosen]) & set(groups[~chosen])
    for label in range(3):
        assert np.mean(chosen[labels == label]) == pytest.approx(
            0.2, abs=0.14
        )  # few groups have the rarest class
    assert np.mean(chosen) == pytest.approx(0.2, abs=0.05)
    assert not np.array_equal(chosen, grouped_part(labels, groups, CLASSES, 0.2, seed + 1, "test", 1))
    np.testing.assert_array_equal(chosen, grouped_part(labels, groups, CLASSES, 0.2, seed, "test", 1))


def test_groups_of_one_are_split_as_images_are():
    labels = np.repeat([0, 1, 2], [500, 100, 30])
    chosen = grouped_part(labels, np.arange(630), CLASSES, 0.1, 0, "validation")
    assert np.bincount(labels[chosen]).tolist() == [50, 10, 3]


@pytest.mark.parametrize(("num_groups", "num_in_part"), [(1, 0), (2, 1), (3, 1)])
def test_rare_classes_stand_in_as_many_splits_as_they_have_groups(num_groups, num_in_part):
    labels = np.concatenate([np.zeros(200, np.int64), np.ones(4 * num_groups, np.int64)])
    groups = np.concatenate([np.arange(200), 1000 + np.arange(4 * num_groups) // 4])
    chosen = grouped_part(labels, groups, ("a", "b"), 0.2, 0, "test", num_further=1)
    assert len(set(groups[chosen & (labels == 1)])) == num_in_part
    rest = ~chosen
    again = grouped_part(labels[rest], groups[rest], ("a", "b"), 0.1, 0, "validation")
    assert len(set(groups[rest][again & (labels[rest] == 1)])) == int(num_groups == 3)


def test_too_few_groups_are_refused():
    with pytest.raises(DataError, match="2 groups, too few to split off a part for test"):
        grouped_part(np.repeat([0, 1], 10), np.repeat([5, 6], 10), ("a", "b"), 0.2, 0, "test", 1)


def test_folds_are_those_of_scikit_learn():
    labels, groups = made_up()
    found = grouped_folds(labels, groups, 5, seed=3)
    for number in range(5):
        assert not set(groups[found == number]) & set(groups[found != number])
    sizes = np.bincount(found)
    theirs = [len(held) for _, held in StratifiedGroupKFold(5, shuffle=True).split(labels, labels, groups)]
    assert sizes.sum() == sum(theirs)
    assert sizes.max() - sizes.min() < 0.1 * len(labels)
    assert grouped_folds(np.arange(4) % 2, np.arange(4), 4, 0).tolist() != [0, 0, 0, 0]
    for num_folds in (1, 61):
        with pytest.raises(DataError, match="no more than the 60 groups"):
            grouped_folds(labels, groups, num_folds, 0)
