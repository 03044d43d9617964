"""Images in memory, with their labels and names."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from kilnet.data.corrections import AppliedCorrections
from kilnet.data.mapped_images import concatenated, gathered
from kilnet.errors import DataError

SPLIT_NAMES = ("train", "validation", "test")
Number = TypeVar("Number", np.int64, np.float32)
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and the total, in bytes or files."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def split_name(name: str) -> str:
    """Return the full name of a split: `val` and `valid` stand for `validation`.

    Raises:
        DataError: there is no such split.
    """
    name = {"val": "validation", "valid": "validation"}.get(name, name)
    if name not in (*SPLIT_NAMES, "all"):
        raise DataError(f"no split {name!r}; there are {', '.join(SPLIT_NAMES)} and all")
    return name


def one_split(name: str) -> str:
    """Return the full name of train, validation or test.

    Raises:
        DataError: it is none of them.
    """
    full = split_name(name)
    if full not in SPLIT_NAMES:
        raise DataError(f"`split={name!r}`: choose one of {', '.join(SPLIT_NAMES)}")
    return full


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split.

    Attributes:
        images: uint8 (num_images, channels, height, width), channels 1 or 3, RGB.
        labels: int64 (num_images,), indices into the data set's `classes`.
        names: one per picture, unique in the split: a path below the data folder, or a number.
        groups: int64 (num_images,): pictures with the same number must stand in one split. None where only those
            with the same pixels must.
        weights: float32 (num_images,), how much each counts in the training loss; None where all count the same.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            raise DataError(
                f"images must be uint8 (num_images, 1 or 3, height, width), not {self.images.dtype} {self.images.shape}"
            )
        if not len(self.images) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.names)} names do not match"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def relative_weights(self) -> npt.NDArray[np.float32] | None:
        """How much each image counts, 1 on average, so that a learning rate means the same; None, all alike."""
        return None if self.weights is None else self.weights / self.weights.mean()

    def take(self, indices: npt.NDArray[np.int64]) -> "Split":
        """Return the images at `indices`, in that order."""
        return Split(
            images=gathered(self.images, indices),
            labels=self.labels[indices],
            names=tuple(self.names[i] for i in indices),
            groups=None if self.groups is None else self.groups[indices],
            weights=None if self.weights is None else self.weights[indices],
        )


def joined(splits: Sequence[Split]) -> Split:
    """Return the images of several splits, one after another."""
    return Split(
        concatenated([split.images for split in splits]),
        np.concatenate([split.labels for split in splits]),
        tuple(name for split in splits for name in split.names),
        _all_or_none([split.groups for split in splits]),
        _all_or_none([split.weights for split in splits]),
    )


def _all_or_none(arrays: Sequence[npt.NDArray[Number] | None]) -> npt.NDArray[Number] | None:
    there = [array for array in arrays if array is not None]
    return np.concatenate(there) if len(there) == len(arrays) else None


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images to evaluate a network on: as many as there are, of some of its classes.

    Attributes:
        name: what the user called them.
        classes: class names; labels are indices into them.
        splits: those that the user has made, by name; empty where there are none.
        images: all.
        warnings: as of `ImageDataset`.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    images: Split
    warnings: tuple[str, ...] = ()

    def split(self, name: str) -> Split:
        """Return a split by its name, or "all"; see `split_name`.

        Raises:
            DataError: the data has no such split.
        """
        name = split_name(name)
        if name == "all":
            return self.images
        if name not in self.splits:
            there = ", ".join([*self.splits, "all"])
            raise DataError(f"{self.name}: has no {name} split; there is {there}")
        return self.splits[name]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A data set in memory.

    Attributes:
        name: what the user called it: "cifar10", "digits", a folder's name.
        classes: class names; labels are indices into it.
        train, validation: what training and selection may see.
        test: read only by `kilnet evaluate`; use `sealed()` before anything is chosen.
        warnings: one line each, for the user: a foreign checksum, files that were skipped.
        corrections: what a table of corrections has done to it, if there is one.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    _test: Split | None = field(repr=False)
    warnings: tuple[str, ...] = ()
    corrections: AppliedCorrections | None = None

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise DataError(
                f"{self.name}: one class ({', '.join(self.classes)}); a classifier needs at least two"
            )
        counts = Counter(unicodedata.normalize("NFC", name) for name in self.classes)
        if same := [name for name, count in counts.items() if count > 1]:
            raise DataError(f"{self.name}: two classes are called {same[0]}; give each a name of its own")
        for split_name in ("train", "validation"):
            if len(getattr(self, split_name)) == 0:
                raise DataError(
                    f"{self.name}: the {split_name} split is empty; it needs more images per class"
                )

    @property
    def test(self) -> Split:
        """The test split.

        Raises:
            DataError: the data set is sealed: training and selection must not read it.
        """
        if self._test is None:
            raise DataError(f"{self.name}: the test split is sealed; only `kilnet evaluate` reads it")
        return self._test

    def split(self, name: str) -> Split:
        """Return a split by its name, or "all" of them, one after another; see `split_name`."""
        name = split_name(name)
        if name == "all":
            return joined([self.train, self.validation, self.test])
        return self.test if name == "test" else getattr(self, name)

    def sealed(self) -> "ImageDataset":
        """Return the data set without its test split, so that nothing can be chosen on it."""
        return replace(self, _test=None)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names, images, labels and weights of train and validation: the same data, the same hex.

        Corrections are in it too, since they may be of test images.
        """
        digest = hashlib.sha256("\n".join(self.classes).encode(errors="surrogatepass"))
        for split in (self.train, self.validation):
            digest.update(repr(split.images.shape).encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels).data)
            if split.weights is not None:
                digest.update(np.ascontiguousarray(split.weights).data)
        if self.corrections is not None:
            digest.update(self.corrections.digest.encode())
        return digest.hexdigest()
