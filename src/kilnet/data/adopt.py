"""Any data set of (image, label) pairs -> images in memory."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kilnet.config import DataConfig
from kilnet.data.dataset import ImageDataset, LabelledImages, Split
from kilnet.data.decode import to_pixels
from kilnet.data.splits import Rows, complete, shuffled
from kilnet.data.squares import default_side, to_square
from kilnet.errors import DataError


class PairDataset(Protocol):
    """A map-style data set, as torchvision's are: `dataset[i]` is (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def adopt_dataset(
    train: PairDataset,
    validation: PairDataset | None = None,
    test: PairDataset | None = None,
    classes: Sequence[str] | None = None,
    config: DataConfig | None = None,
) -> ImageDataset:
    """Read a data set of pairs into memory once; splits that are not given are carved out of `train`.

    An image may be a Pillow image, or an array or tensor: (height, width), (height, width, channels) or
    (channels, height, width) with 1 or 3 channels; uint8, or floating point from 0 to 1, which is rounded to
    uint8. Grey stays one channel where all images are grey. Images that are not all squares of one size are
    scaled as those of a folder (`to_square`, `default_side`); `config.image_size` scales all, and `config.fit`
    says how. Give the data set without random transforms and without normalisation: Kilnet augments and
    normalises itself, and cannot
    see that an image would come out differently the next time.

    Args:
        classes: names by label; unset, the data set's own `classes`, else "0", "1", and so on.
        config: splits and image size; its `source` is not looked at.

    Raises:
        DataError: an item is no pair, an image or label has another form, or a class is too small to split.
    """
    config = config or DataConfig()
    name = type(train).__name__
    given = {"train": train, "validation": validation, "test": test}
    classes, splits = _in_squares(name, given, classes, config)
    for label, class_name in enumerate(classes):
        if not np.any(splits["train"].labels == label):
            raise DataError(f"{name} train: class {class_name} has no image; labels count from 0")
    in_random_order = shuffled(Rows.of(splits["train"]), config.split_seed)
    try:
        completed = complete(in_random_order, splits.get("validation"), splits.get("test"), classes, config)
    except DataError as error:
        raise DataError(f"{name} train: {error}") from None
    return ImageDataset(name, classes, *completed)


def adopt_as_they_are(pairs: PairDataset, config: DataConfig) -> LabelledImages:
    """Read a data set of pairs into memory as `adopt_dataset` does, to evaluate a network on; nothing is split.

    Raises:
        DataError: as in `adopt_dataset`, but classes may be small or missing.
    """
    name = type(pairs).__name__
    classes, splits = _in_squares(name, {"train": pairs}, None, config)
    return LabelledImages(name, classes, {}, splits["train"])


def _in_squares(
    name: str, given: Mapping[str, PairDataset | None], classes: Sequence[str] | None, config: DataConfig
) -> tuple[tuple[str, ...], dict[str, Split]]:
    """Return the names of the classes, and the images of each split that is given, as squares of one side."""
    pairs_of = {split: pairs for split, pairs in given.items() if pairs is not None}
    read = {split: _read(f"{name} {split}", pairs) for split, pairs in pairs_of.items()}
    num_labels = 1 + max(int(labels.max()) for _, labels in read.values())
    first = next(iter(pairs_of.values()))
    classes = tuple(classes or getattr(first, "classes", None) or map(str, range(num_labels)))
    every_image = [image for images, _ in read.values() for image in images]
    sizes = np.array([image.shape[:2] for image in every_image], np.int64)
    common_side = int(sizes[0, 0]) if np.all(sizes == sizes[0, 0]) else default_side(sizes.max(axis=1))
    side = config.image_size or common_side
    num_channels = max(image.shape[2] for image in every_image)
    splits: dict[str, Split] = {}
    for split, (images, labels) in read.items():
        if labels.max() >= len(classes):
            raise DataError(f"{name} {split}: label {labels.max()}, but there are {len(classes)} classes")
        squares = np.empty((len(images), num_channels, side, side), np.uint8)
        for square, image in zip(squares, images, strict=True):
            square[:] = to_square(image, side, config.fit or "pad")  # one grey channel fills three
        splits[split] = Split(squares, labels, tuple(f"{split}/{i:05}" for i in range(len(images))))
    return classes, splits


def _read(where: str, pairs: PairDataset) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int64]]:
    images, labels = [], []
    for index in range(len(pairs)):
        item = pairs[index]
        try:
            image, label = item
        except (TypeError, ValueError):
            raise DataError(f"{where}: item {index} is no (image, label) pair") from None
        try:
            images.append(to_pixels(image))
            labels.append(_to_label(label))
        except DataError as error:
            raise DataError(f"{where}: item {index}: {error}") from None
    if not images:
        raise DataError(f"{where}: is empty")
    return images, np.array(labels, np.int64)


def _to_label(label: Any) -> int:
    try:
        number = operator.index(label)
    except TypeError:
        raise DataError(f"label {label!r} is no whole number; give the index of the class") from None
    if number < 0:
        raise DataError(f"label {number} is negative; labels count from 0")
    return number
