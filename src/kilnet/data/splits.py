"""Stratified seeded splits that never part equal pictures."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kilnet.config import DataConfig
from kilnet.data.dataset import Split
from kilnet.data.grouped_splits import grouped_folds, grouped_part
from kilnet.data.mapped_images import images_in_a_block
from kilnet.errors import DataError
from kilnet.seeding import generator


@dataclass(frozen=True, eq=False)
class Rows:
    """Some images of a split, in some order: what becomes of them is decided before any is copied.

    Attributes:
        every: where they are from.
        rows: int64 (num_images,), their places there.
        equal: int64 (num_images,), the same number for images with the same pixels; None before they are compared.
    """

    every: Split
    rows: npt.NDArray[np.int64]
    equal: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, split: Split) -> "Rows":
        """Return all images of a split."""
        return cls(split, np.arange(len(split)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Of these images."""
        return self.every.labels[self.rows]

    @property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """Of these images; see `Split`."""
        return None if self.every.groups is None else self.every.groups[self.rows]

    def take(self, indices: npt.NDArray[np.int64]) -> "Rows":
        """Return those at `indices` of these, in that order."""
        return Rows(self.every, self.rows[indices], None if self.equal is None else self.equal[indices])

    def split(self) -> Split:
        """Copy the images; all of them in their order are the split itself."""
        is_all = len(self) == len(self.every) and bool((self.rows == np.arange(len(self))).all())
        return self.every if is_all else self.every.take(self.rows)


def content_hashes(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return a hash of each image's pixels: uint64 (num_images,), equal where the pixels are.

    64 bits of BLAKE2b: among a million different pictures, two share a hash with a chance below 1 in 10 million.
    """
    digests = (hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), np.uint64)


def _equal(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a number for each of the images at `rows`, the same for those with the same pixels.

    A sum of all pixels with random factors, modulo 2^64, tells most images apart in a tenth of the time of a hash;
    only those that have it in common are hashed. A part at a time is looked at, in the order in which they lie.
    """
    sums = np.zeros(len(rows), np.uint64)
    if len(images) and images[0].size % 8 == 0 and images.flags.c_contiguous:
        factors = generator(0, "equal").integers(0, 2**64, images[0].size // 8, np.uint64) | np.uint64(1)
        order, block = np.argsort(rows), images_in_a_block(images)
        for start in range(0, len(rows), block):
            part = order[start : start + block]
            sums[part] = images[rows[part]].reshape(len(part), -1).view(np.uint64) @ factors
    _, groups, sizes = np.unique(sums, return_inverse=True, return_counts=True)
    unclear = np.flatnonzero(sizes[groups] > 1)
    groups[unclear] = len(sizes) + np.unique(content_hashes(images[rows[unclear]]), return_inverse=True)[1]
    return groups


def complete(
    train: Split | Rows,
    validation: Split | Rows | None,
    test: Split | Rows | None,
    classes: Sequence[str],
    config: DataConfig,
) -> tuple[Split, Split, Split]:
    """Carve the splits that are missing out of train, then keep its first `num_train` images; each is copied once.

    Raises:
        DataError: a class has too few different pictures to stand in every split.
    """
    rows = train if isinstance(train, Rows) else Rows.of(train)
    if test is None:
        num_further = int(validation is None)
        rows, test = carve(rows, classes, config.test_fraction, config.split_seed, "test", num_further)
    if validation is None:
        rows, validation = carve(rows, classes, config.validation_fraction, config.split_seed, "validation")
    kept = rows.take(np.arange(min(config.num_train or len(rows), len(rows))))
    first, second, third = (
        part.split() if isinstance(part, Rows) else part for part in (kept, validation, test)
    )
    return first, second, third


def first_images(split: Split, num_images: int | None) -> Split:
    """Return at most this many of the images, the first ones; with None all."""
    return split if num_images is None else split.take(np.arange(min(num_images, len(split))))


def shuffled(rows: Rows, seed: int) -> Rows:
    """Return the images in a random order, so that any first part is a fair sample of all classes."""
    return rows.take(generator(seed, "split-order").permutation(len(rows)))


def carve(
    split: Rows, classes: Sequence[str], fraction: float, seed: int, purpose: str, num_further: int = 0
) -> tuple[Rows, Rows]:
    """Take a stratified random part out of a split.

    Of each class the part gets `fraction` of the images, rounded, but at least one picture, and at least one
    stays. Pictures with the same pixels stay together, so that a part can be a few images larger than asked
    for. Both results keep the order of `split`.

    Args:
        purpose: "validation" or "test"; the two draw from different random streams.
        num_further: how many parts will be carved out of the rest later; as many pictures of each
            class are left for them.

    Where the split has groups, whole groups are taken, as `grouped_part` says.

    Returns:
        (the rest, the part).

    Raises:
        DataError: a class has too few different pictures to stand in every split.
    """
    if split.groups is not None:
        chosen = grouped_part(split.labels, split.groups, classes, fraction, seed, purpose, num_further)
        return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))
    equal = split.equal
    if equal is None:  # all images are read for it, so once for all parts
        equal = _equal(split.every.images, split.rows)
        split = replace(split, equal=equal)
    _, first, groups = np.unique(equal, return_index=True, return_inverse=True)
    group_sizes = np.bincount(groups)
    group_labels = split.labels[first]  # equal pictures in two classes go with the class of the first one
    taken = np.zeros(len(first), dtype=bool)
    for label, name in enumerate(classes):
        members = np.flatnonzero(group_labels == label)
        if len(members) < 2 + num_further:
            raise DataError(
                f"class {name} has {len(members)} different images, too few to split into {2 + num_further} "
                "parts; add images or leave the class out"
            )
        members = members[np.argsort(first[members])]
        members = generator(seed, f"split-{purpose}", label).permutation(members)
        wanted = max(1, round(fraction * int(group_sizes[members].sum())))
        num_taken = int(np.searchsorted(np.cumsum(group_sizes[members]), wanted)) + 1
        taken[members[: min(num_taken, len(members) - 1 - num_further)]] = True
    in_part = taken[groups]
    return split.take(np.flatnonzero(~in_part)), split.take(np.flatnonzero(in_part))


def folds(split: Split, num_folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal the images out into folds, each class evenly; pictures with the same pixels, or of one group, stay together.

    Returns:
        int64 (num_images,), the fold of each image, from 0.

    Raises:
        DataError: fewer than two folds, or fewer different pictures than folds.
    """
    if split.groups is not None:
        return grouped_folds(split.labels, split.groups, num_folds, seed)
    _, first, groups = np.unique(content_hashes(split.images), return_index=True, return_inverse=True)
    if not 2 <= num_folds <= len(first):
        raise DataError(
            f"{num_folds} folds: must be at least 2, and no more than the {len(first)} different images"
        )
    order = generator(seed, "folds").permutation(len(first))
    # Class by class, in random order within each.
    order = order[np.argsort(split.labels[first][order], kind="stable")]
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % num_folds
    return fold[groups]
