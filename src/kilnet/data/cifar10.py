"""CIFAR-10 from a copy on disk, or fetched once into the cache."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.config import DataConfig
from kilnet.data import cifar10_files as files
from kilnet.data.cifar10_files import BINARY, CLASSES, NUM_IMAGES, PYTHON, SHAPE, SIDE, Batch, Layout
from kilnet.data.dataset import ImageDataset, Progress, Split, silent
from kilnet.data.splits import complete
from kilnet.data.squares import resized
from kilnet.data.tensor_files import mapped_tensor, read_head, sealed_tensors, unsealed_tensors
from kilnet.errors import DataError, StorageError
from kilnet.storage import cache_folder, given_path, open_file, write_bytes

# The origin, then the public buckets of Swift for TensorFlow and of MindSpore, whose tutorials fetch it.
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-10-binary.tar.gz",
)
ARCHIVE_BYTES = 170_052_171
_UNPACKED = "cifar-10-images.safetensors"


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
        images, labels, warnings = _read(*_find(given_path(copy)))
    else:
        images, labels, warnings = *_from_cache(progress), ()
    num_train = 5 * NUM_IMAGES
    train = Split(images[:num_train], labels[:num_train], tuple(f"train/{i:05}" for i in range(num_train)))
    test = Split(images[num_train:], labels[num_train:], tuple(f"test/{i:05}" for i in range(NUM_IMAGES)))
    train, validation, test = (
        Split(resized(split.images, config.image_size or SIDE), split.labels, split.names)
        for split in complete(train, None, test, CLASSES, config)
    )
    return ImageDataset("cifar10", CLASSES, train, validation, test, warnings)


def _from_cache(progress: Progress) -> Batch:
    """Return all images and labels as the last call has unpacked them, which is ten times as fast as the archive."""
    folder = cache_folder() / "cifar10"
    unpacked = folder / _UNPACKED
    with suppress(OSError, ValueError, KeyError):  # it is not there, or damaged: it is written again
        return _read_unpacked(unpacked)
    archive = folder / BINARY.archive
    from kilnet.data.download import fetch  # requests takes a fifth of a second to import

    fetch(MIRRORS, archive, BINARY.archive_md5, ARCHIVE_BYTES, progress)
    images, labels, _ = _read(archive, BINARY, is_official=True)
    with suppress(StorageError):  # then the archive is read again next time
        tensors = {"images": ("U8", images), "labels": ("U8", labels.astype(np.uint8))}
        write_bytes(unpacked, sealed_tensors(tensors, {"archive": BINARY.archive_md5}))
    return images, labels


def _read_unpacked(path: Path) -> Batch:
    read_head(path)  # refuses what is no file
    content = memoryview(np.memmap(path, np.uint8, "r"))  # type: ignore[arg-type]
    images, labels = (np.asarray(mapped_tensor(path, name)) for name in ("images", "labels"))
    of_archive = unsealed_tensors(content)["archive"]
    if of_archive != BINARY.archive_md5 or images.shape != (6 * NUM_IMAGES, *SHAPE):
        raise ValueError("of another archive")
    return images, labels.astype(np.int64)


def _read(
    path: Path, layout: Layout, is_official: bool = False
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the images and labels of a copy, those of the test last, and what is to be said of its checksums."""
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
    if path.is_file() and not is_official and _md5(path) != layout.archive_md5:
        foreign.append(layout.archive)
    if not foreign:
        return images, labels, ()
    warning = f"{path}: the checksum of {', '.join(foreign)} is not the official one; used as it is"
    return images, labels, (warning,)


def _md5(path: Path) -> str:
    with open_file(path) as file:
        digest = hashlib.md5(usedforsecurity=False)
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


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
