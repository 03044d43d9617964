"""Images and labels as two sequences: arrays, tensors, or paths of files with their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.data.adopt import PairDataset
from kilnet.data.decode import decode
from kilnet.errors import DataError
from kilnet.storage import given_path

MAX_SIDE_PX = 512
"""Larger photographs are reduced to this when they are read, since all of them are in memory at once."""


class LabelledArrays:
    """Pairs of `images[i]` and the number of `labels[i]`.

    Args:
        images: paths of picture files; or what `kilnet.adopt_dataset` takes as an image, one per label.
        labels: whole numbers, or names of classes.

    Attributes:
        classes: the names, sorted; of whole numbers "0", "1", and so on.

    Raises:
        DataError: they do not match, or labels are neither whole numbers nor names.
    """

    def __init__(self, images: Any, labels: Any) -> None:
        found = _flat(labels)
        if found is None:
            raise DataError("labels must be one whole number, or one class name, per image")
        if len(images) != len(found):
            raise DataError(f"{len(images)} images and {len(found)} labels do not match")
        self._images = images
        self.classes: tuple[str, ...] | None = None
        if found.dtype.kind in "US":
            names, found = np.unique(found, return_inverse=True)
            self.classes = tuple(map(str, names))
        self._labels = found.astype(np.int64)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int, /) -> tuple[Any, int]:
        image = self._images[index]
        if isinstance(image, str | Path):
            image = _read(given_path(image))
        return image, int(self._labels[index])


def as_pairs(data: Any) -> PairDataset:
    """Return what a caller gave as data of pairs: (images, labels) as pairs of both, pairs as they are.

    A tuple of two is (images, labels), unless it holds two (image, label) pairs.
    """
    if isinstance(data, tuple) and len(data) == 2 and not _is_pair(data[0]):
        return LabelledArrays(*data)
    return data  # type: ignore[no-any-return]


def _is_pair(thing: Any) -> bool:
    """Whether it is (image, label), with one label."""
    return (
        isinstance(thing, tuple)
        and len(thing) == 2
        and not isinstance(thing[1], str | Path)
        and np.ndim(thing[1]) == 0
    )


def _flat(labels: Any) -> npt.NDArray[Any] | None:
    """Return labels as an array of whole numbers or names; None where they are something else."""
    if isinstance(labels, str | bytes) or (
        not isinstance(labels, Sequence) and not hasattr(labels, "__array__")
    ):
        return None
    try:
        found = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
    except (TypeError, ValueError):
        return None
    if found.dtype.kind == "O" and all(isinstance(label, str) for label in found.ravel()):
        found = found.astype(np.str_)
    return found if found.ndim == 1 and found.dtype.kind in "iuUS" else None


def _read(path: Path) -> npt.NDArray[np.uint8]:
    try:
        pixels, _ = decode(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if max(pixels.shape[:2]) <= MAX_SIDE_PX:
        return pixels
    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return np.asarray(picture)
