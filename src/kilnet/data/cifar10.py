"""CIFAR-10 from a copy on disk, or fetched once into the cache."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pooch

from kilnet.config import DataConfig
from kilnet.data import cifar10_files as files
from kilnet.data.cifar10_files import BINARY, CLASSES, NUM_IMAGES, PYTHON, SHAPE, SIDE, Layout
from kilnet.data.dataset import ImageDataset, Progress, Split, silent
from kilnet.data.download import fetch
from kilnet.data.splits import complete
from kilnet.data.squares import resized
from kilnet.errors import DataError
from kilnet.storage import cache_folder, given_path

# The origin, then the public buckets of Swift for TensorFlow and of MindSpore, whose tutorials fetch it.
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-10-binary.tar.gz",
)
ARCHIVE_BYTES = 170_052_171


def load_cifar10(config: DataConfig, progress: Progress = silent) -> ImageDataset:
    """Read CIFAR-10: 50,000 images for train and validation, 10,000 for the test, 3 × 32 × 32, 10 classes.

    Args:
        config: `dir`, or else the environment's KILNET_DATA, points at a copy: the binary or python archive,
            the folder `cifar-10-batches-bin` or `cifar-10-batches-py`, or a folder with one of these. Without
            either, the binary archive is fetched once and kept in the cache.

    Raises:
        DataError: the copy is missing, damaged, or not CIFAR-10.
        DownloadError: no mirror delivered the archive.
    """
    copy = config.dir or os.environ.get("KILNET_DATA")
    if copy:
        path, layout = _find(given_path(copy))
    else:
        path, layout = cache_folder() / "cifar10" / BINARY.archive, BINARY
        fetch(MIRRORS, path, BINARY.archive_md5, ARCHIVE_BYTES, progress)
    images = np.empty((6 * NUM_IMAGES, *SHAPE), np.uint8)
    labels = np.empty(6 * NUM_IMAGES, np.int64)
    foreign: list[str] = []

    def use(name: str, content: bytes) -> None:
        batch = layout.members.index(name)
        rows = slice(batch * NUM_IMAGES, (batch + 1) * NUM_IMAGES)
        where = path / name
        images[rows], labels[rows] = layout.decode(content, str(where))
        if path.is_dir() and name in layout.batch_md5:
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if digest != layout.batch_md5[name]:
                foreign.append(name)

    (files.read_folder if path.is_dir() else files.read_archive)(path, layout, use)
    if path.is_file() and copy and pooch.file_hash(str(path), "md5") != layout.archive_md5:
        foreign.append(layout.archive)
    warnings: tuple[str, ...] = ()
    if foreign:
        warnings = (f"{path}: the checksum of {', '.join(foreign)} is not the official one; used as it is",)

    num_train = 5 * NUM_IMAGES
    train = Split(images[:num_train], labels[:num_train], tuple(f"train/{i:05}" for i in range(num_train)))
    test = Split(images[num_train:], labels[num_train:], tuple(f"test/{i:05}" for i in range(NUM_IMAGES)))
    train, validation, test = (
        Split(resized(split.images, config.image_size or SIDE), split.labels, split.names)
        for split in complete(train, None, test, CLASSES, config)
    )
    return ImageDataset("cifar10", CLASSES, train, validation, test, warnings)


def _find(copy: Path) -> tuple[Path, Layout]:
    if copy.is_file():
        return copy, PYTHON if "python" in copy.name else BINARY
    try:
        places = [copy, *sorted(child for child in copy.iterdir() if child.is_dir())]
    except OSError as error:
        raise DataError(f"{copy}: {error.strerror}; point `data.dir` at a copy of CIFAR-10") from None
    for place in places:
        for layout in (BINARY, PYTHON):
            if place.name == layout.folder or (place / layout.members[0]).exists():
                return place, layout
            if (place / layout.folder).is_dir():
                return place / layout.folder, layout
        for layout in (BINARY, PYTHON):
            if (place / layout.archive).is_file():
                return place / layout.archive, layout
    raise DataError(
        f"{copy}: holds no CIFAR-10; expected {BINARY.folder}/, {PYTHON.folder}/, {BINARY.archive} "
        f"or {PYTHON.archive}"
    )
