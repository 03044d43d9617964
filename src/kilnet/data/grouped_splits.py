"""Splits and folds that keep groups of pictures together, and the shares of the classes as alike as that allows."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kilnet.errors import DataError
from kilnet.seeding import derive, generator


def grouped_part(
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    classes: Sequence[str],
    fraction: float,
    seed: int,
    purpose: str,
    num_further: int = 0,
) -> npt.NDArray[np.bool_]:
    """Choose whole groups at random, so that of each class about `fraction` of the images are in the part.

    A class that stands in one group alone stays in the rest. Of a class in two or more, one group at least is in the
    part, and one stays; where there are enough, one more stays for each part that will be chosen later.

    Args:
        labels, groups: int64 (num_images,).
        classes, fraction, seed, purpose, num_further: as of `carve`.

    Returns:
        bool (num_images,), whether each image is in the part.

    Raises:
        DataError: there are too few groups for a part.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (group_of, labels), 1)
    sizes = np.maximum(counts.sum(0), 1)
    holds = counts > 0
    num_groups = holds.sum(0)
    most = num_groups - 1 - np.minimum(num_further, np.maximum(num_groups - 2, 0))
    order = generator(seed, f"split-{purpose}").permutation(len(names))
    taken = np.zeros(len(names), dtype=bool)
    num_taken = np.zeros(len(classes), np.int64)  # groups
    images = np.zeros(len(classes), np.int64)  # in the part

    def distance(group: int | None = None) -> float:
        """Return how far the part's shares are from `fraction`, with one more group in it."""
        found = images if group is None else images + counts[group]
        return float((((found / sizes) - fraction) ** 2).sum())

    def fits(group: int) -> bool:
        return not taken[group] and bool(np.all(num_taken[holds[group]] < most[holds[group]]))

    def take(group: int) -> None:
        nonlocal num_taken, images
        taken[group] = True
        num_taken, images = num_taken + holds[group], images + counts[group]

    for label in np.argsort(num_groups, kind="stable"):  # the rarest first, while all is free
        candidates = (
            [group for group in order if holds[group, label] and fits(group)] if not images[label] else []
        )
        if candidates:
            take(min(candidates, key=distance))
    for group in order:
        if fits(group) and distance(group) < distance():
            take(group)
    if not taken.any():
        raise DataError(
            f"{len(names)} groups, too few to split off a part for {purpose}: every class stands in one group; "
            "give a split, or another `data.group`"
        )
    return taken[group_of]


def grouped_folds(
    labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], num_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Deal whole groups out into folds, by scikit-learn's `StratifiedGroupKFold`.

    Returns:
        int64 (num_images,), the fold of each image, from 0.

    Raises:
        DataError: fewer than two folds, or fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import

    num_groups = len(np.unique(groups))
    if not 2 <= num_folds <= num_groups:
        raise DataError(f"{num_folds} folds: must be at least 2, and no more than the {num_groups} groups")
    dealer = StratifiedGroupKFold(num_folds, shuffle=True, random_state=derive(seed, "folds") % 2**32)
    fold = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer images than folds
        for number, (_, held_out) in enumerate(
            dealer.split(np.zeros(len(labels)), _common(labels, num_folds), groups)
        ):
            fold[held_out] = number
    return fold


def _common(labels: npt.NDArray[np.int64], num_folds: int) -> npt.NDArray[np.int64]:
    """Return the labels, or all the same where no class has an image for each fold, which scikit-learn refuses."""
    return labels if np.bincount(labels).max() >= num_folds else np.zeros_like(labels)
