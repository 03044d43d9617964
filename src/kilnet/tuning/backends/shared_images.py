"""Images in a file that all workers map into their memory: one copy, whatever their number."""

import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import ImageDataset, Split
from kilnet.storage import write_bytes, write_json

_SPLITS = ("train", "validation")
_DESCRIPTION = "dataset.json"


def share_images(dataset: ImageDataset, folder: Path) -> None:
    """Write a data set without its test split.

    Raises:
        StorageError: the disk is full or the folder read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SPLITS:
        split = dataset.split(name)
        write_array(folder / f"{name}-images.npy", split.images)
        write_array(folder / f"{name}-labels.npy", split.labels)
    content = {"name": dataset.name, "classes": dataset.classes, "warnings": dataset.warnings}
    names = {name: dataset.split(name).names for name in _SPLITS}
    write_json(folder / _DESCRIPTION, content | {"names": names})


def is_shared(folder: Path) -> bool:
    """Whether `share_images` has written all of it."""
    return (folder / _DESCRIPTION).exists()  # written last


def map_images(folder: Path) -> ImageDataset:
    """Return what `share_images` wrote, its pages shared with every other process that maps it."""
    content = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
    splits = {
        # "c": torch wants memory that it may write to; a page is copied only if somebody does.
        name: Split(
            np.load(folder / f"{name}-images.npy", mmap_mode="c"),
            np.load(folder / f"{name}-labels.npy"),
            tuple(content["names"][name]),
        )
        for name in _SPLITS
    }
    return ImageDataset(
        name=content["name"],
        classes=tuple(content["classes"]),
        **splits,
        _test=None,
        warnings=tuple(content["warnings"]),
    )


def write_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write a .npy file whole; see `kilnet.storage.write_bytes`."""
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(path, content.getvalue())
