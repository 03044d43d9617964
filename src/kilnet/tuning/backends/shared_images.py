"""Images in a file that all workers map into their memory: one copy, whatever their number."""

import io
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, TypeAdapter

from kilnet.data.corrections import AppliedCorrections
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import RunFolderError, StorageError
from kilnet.folders import inside
from kilnet.storage import (
    Text,
    make_folder,
    open_file,
    read_bytes,
    read_json,
    reading,
    remove,
    sealed,
    sealed_array,
    unsealed,
    verify_array,
    write_bytes,
    write_json,
)

_SPLITS = ("train", "validation")
_CORRECTIONS: TypeAdapter[AppliedCorrections] = TypeAdapter(AppliedCorrections)
_ADVICE = "delete the folder that it is in; the same search makes it again"


class _Description(BaseModel):
    model_config = ConfigDict(strict=True)

    name: Text
    classes: list[Text]
    warnings: list[Text]
    names: dict[str, list[Text]]
    corrections: dict[str, Any] | None = None


def share_images(dataset: ImageDataset, folder: Path) -> None:
    """Write a data set without its test split.

    Raises:
        StorageError: the disk is full or the folder read-only.
    """
    make_folder(folder, parents=True)
    for name in _SPLITS:
        split = dataset.split(name)
        write_array(_array_path(folder, name, "images"), split.images)
        write_array(_array_path(folder, name, "labels"), split.labels)
        for what, array in (("groups", split.groups), ("weights", split.weights)):
            if array is not None:
                write_array(_array_path(folder, name, what), array)
    content: dict[str, Any] = {"name": dataset.name, "classes": dataset.classes, "warnings": dataset.warnings}
    if dataset.corrections is not None:
        content["corrections"] = asdict(dataset.corrections)
    names = {name: dataset.split(name).names for name in _SPLITS}
    write_json(_description_path(folder), sealed(content | {"names": names}))


def is_shared(folder: Path) -> bool:
    """Whether `share_images` has written all of it."""
    return _description_path(folder).is_file()  # written last


def remove_damaged(folder: Path) -> None:
    """Delete what a search that was interrupted has shared, where it can no longer be mapped.

    Args:
        folder: with a folder for each data set.
    """
    for shared in folder.iterdir() if folder.is_dir() else ():
        try:
            map_images(shared)
        except (StorageError, RunFolderError, FileNotFoundError):
            if shared.is_dir() and not shared.is_symlink():
                shutil.rmtree(shared, ignore_errors=True)
            else:
                remove(shared)


def map_images(folder: Path) -> ImageDataset:
    """Return what `share_images` wrote, its pages shared with every other process that maps it.

    Raises:
        FileNotFoundError: it has not written all of it.
        StorageError: a file is damaged.
    """
    path = _description_path(folder)
    with reading(path, _ADVICE, error=StorageError):
        content = _Description.model_validate(unsealed(read_json(path)))
        splits = {
            name: _split(folder, name, tuple(content.names[name]), len(content.classes)) for name in _SPLITS
        }
        return ImageDataset(
            name=content.name,
            classes=tuple(content.classes),
            **splits,
            _test=None,
            warnings=tuple(content.warnings),
            corrections=None
            if content.corrections is None
            else _CORRECTIONS.validate_python(content.corrections),
        )


def write_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write a .npy file whole, with a checksum behind the array; see `kilnet.storage.write_bytes`."""
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(path, sealed_array(content.getvalue()))


def read_array(path: Path) -> npt.NDArray[Any]:
    """Return the array of a .npy file, its checksum verified where it has one; see `kilnet.storage.reading`."""
    content = read_bytes(path)
    file = io.BytesIO(content)
    array: npt.NDArray[Any] = np.load(file)
    verify_array(content, file.tell())
    return array


def _split(folder: Path, name: str, names: tuple[str, ...], num_classes: int) -> Split:
    path = _array_path(folder, name, "images")
    with reading(path, _ADVICE, error=StorageError):
        open_file(path).close()  # it is one
        # "c": torch wants memory that it may write to; a page is copied only if somebody does.
        images: np.memmap[Any, Any] = np.load(path, mmap_mode="c")
        verify_array(np.memmap(path, np.uint8, "r").data, images.offset + images.nbytes)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(names):
            raise ValueError(f"{images.dtype} {images.shape} for {len(names)} names")
    path = _array_path(folder, name, "labels")
    with reading(path, _ADVICE, error=StorageError):
        labels = read_array(path)
        if labels.dtype != np.int64 or labels.shape != (len(names),):
            raise ValueError(f"{labels.dtype} {labels.shape} for {len(names)} names")
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"labels from {labels.min()} to {labels.max()} for {num_classes} classes")
    groups = _optional(_array_path(folder, name, "groups"), np.int64, len(names))
    weights = _optional(_array_path(folder, name, "weights"), np.float32, len(names))
    return Split(images, labels, names, groups, weights)


def _optional(path: Path, kind: Any, num_images: int) -> Any:
    """Return an array that only some data sets have."""
    with suppress(FileNotFoundError), reading(path, _ADVICE, error=StorageError):
        array = read_array(path)
        if array.dtype != kind or array.shape != (num_images,):
            raise ValueError(f"{array.dtype} {array.shape} for {num_images} names")
        return array
    return None


def _description_path(folder: Path) -> Path:
    return inside(folder, "dataset.json")


def _array_path(folder: Path, split: str, what: str) -> Path:
    return inside(folder, f"{split}-{what}.npy")
