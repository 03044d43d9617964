"""From what the user calls a data set to images in memory; scikit-learn's digits among them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kilnet.config import DataConfig
from kilnet.data.adopt import PairDataset, adopt_as_they_are, adopt_dataset
from kilnet.data.archive import is_archive
from kilnet.data.cifar10 import load_cifar10
from kilnet.data.corrected import corrected
from kilnet.data.corrections import read_corrections
from kilnet.data.dataset import ImageDataset, LabelledImages, Progress, Split, silent
from kilnet.data.decoded import DecodedPictures
from kilnet.data.folder import as_they_are
from kilnet.data.labelled_arrays import as_pairs
from kilnet.data.labelled_files import find_source, is_column, load_folder, read_labelled
from kilnet.data.splits import complete, first_images
from kilnet.data.squares import resized
from kilnet.errors import DataError
from kilnet.storage import given_path

NAMES = ("cifar10", "digits")
DIGITS_SIZE = 16
"""Side of the digits in pixels, twice the stored 8: the tutorial's four convolutions and poolings of 2 need 16."""
Data = str | Path | ImageDataset | PairDataset | tuple[Any, Any]
"""What a caller may give as data: a name, a folder, a table of labels, an archive, images in memory, or
(images, labels) as arrays, tensors or lists, where images may be paths."""


def in_memory(
    data: Data, config: DataConfig, progress: Progress = silent, decoded: DecodedPictures | None = None
) -> ImageDataset:
    """Load data, or read it into memory, unless it is there already; see `load_dataset` and `adopt_dataset`.

    Args:
        data: what the caller gave.
        config: says how; of a name or a folder also which.
        progress: told how far fetching and decoding are.
        decoded: see `read_pictures`.
    """
    if isinstance(data, ImageDataset):
        if config.corrections is None or data.corrections is not None:
            return data
        return corrected(data, read_corrections(given_path(config.corrections)))
    if isinstance(data, str | Path):
        return load_dataset(config, progress, decoded)
    if config.corrections is not None:
        whole = adopt_dataset(as_pairs(data), config=_as_it_is(config))
        return _with_corrections(whole, config, config.corrections)
    return adopt_dataset(as_pairs(data), config=config)


def _as_it_is(config: DataConfig) -> DataConfig:
    return config.model_copy(update={"corrections": None, "num_train": None})


def _with_corrections(dataset: ImageDataset, config: DataConfig, path: str) -> ImageDataset:
    """Return all of the data as the corrections have it, and then its first images."""
    dataset = corrected(dataset, read_corrections(given_path(path)))
    return replace(dataset, train=first_images(dataset.train, config.num_train))


def to_evaluate(
    data: Data, config: DataConfig, known: Sequence[str], progress: Progress = silent
) -> ImageDataset | LabelledImages:
    """Load data for a network to be evaluated on: where it cannot be split for training, as it is.

    Args:
        data, config, progress: as for `in_memory`.
        known: the classes of the network.

    Raises:
        DataError, DownloadError: it cannot be had, or holds other classes.
    """
    try:
        return in_memory(data, config, progress)
    except DataError:
        if isinstance(data, ImageDataset) or config.source in NAMES:
            raise
    if isinstance(data, str | Path):
        source = find_source(config.source, NAMES)
        config = config.model_copy(update={"group": None, "corrections": None})  # nothing is split
        return as_they_are(source, read_labelled(source, config, progress, known), config)
    return adopt_as_they_are(as_pairs(data), config)


def located(config: DataConfig) -> DataConfig:
    """Write the whole path of a folder or a file down, so that the run can be repeated from anywhere."""
    places = {}
    if config.corrections is not None:
        places["corrections"] = str(given_path(config.corrections).resolve())
    if config.source not in NAMES and (source := given_path(config.source)).exists():
        places["source"] = str(source.resolve())
        if config.root is not None and not is_archive(source):
            places["root"] = str(given_path(config.root).resolve())
    return config.model_copy(update=places)


def elsewhere(config: DataConfig, data: str | Path) -> DataConfig:
    """Return how other data is read, or data that has moved: as `config` says, without what the data cannot have."""
    source = source_of(data)
    changes: dict[str, str | None] = {"source": source, "root": None, "corrections": None}
    if source in NAMES or given_path(source).is_dir():
        changes["columns"] = None
        if config.group is not None and is_column(config.group):
            changes["group"] = None
    return config.model_copy(update=changes)


def source_of(data: str | Path) -> str:
    """Return what a configuration calls data; a `Path` is a folder if there is one, whatever it is called."""
    is_folder = isinstance(data, Path) and str(data) in NAMES and data.is_dir()
    return f".{os.sep}{data}" if is_folder else str(data)


def load_dataset(
    config: DataConfig, progress: Progress = silent, decoded: DecodedPictures | None = None
) -> ImageDataset:
    """Load "cifar10", "digits", a folder of pictures, a table of labels or an archive, as `config` says.

    Args:
        progress: told how far fetching and decoding are.
        decoded: see `read_pictures`.

    Raises:
        DataError: there is no such data set or folder, or it cannot be used; one line says why.
        DownloadError: CIFAR-10 could not be fetched.
    """
    name = config.source
    if config.corrections is not None:
        whole = load_dataset(_as_it_is(config), progress, decoded)
        return _with_corrections(whole, config, config.corrections)
    if name not in NAMES:
        return load_folder(find_source(name, NAMES), config, progress, decoded)
    dataset = load_digits(config) if name == "digits" else load_cifar10(config, progress)
    if Path(name).is_dir():
        warning = f"{name} is the data set of that name, and not the folder .{os.sep}{name}, which is written like this"
        return replace(dataset, warnings=(warning, *dataset.warnings))
    return dataset


def load_digits(config: DataConfig) -> ImageDataset:
    """Return scikit-learn's 1,797 handwritten digits: 1 × 16 × 16 unless `image_size` says otherwise, 10 classes.

    The data are the test part of https://archive.ics.uci.edu/dataset/80 (E. Alpaydin, C. Kaynak), pixels 0 to
    16, here scaled to 0 to 255.
    """
    from sklearn import datasets  # a second to import

    digits = datasets.load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    images = resized(pixels, config.image_size or DIGITS_SIZE)
    classes = tuple(str(name) for name in digits.target_names)
    whole = Split(images, digits.target.astype(np.int64), tuple(f"{i:04}" for i in range(len(images))))
    return ImageDataset("digits", classes, *complete(whole, None, None, classes, config))
