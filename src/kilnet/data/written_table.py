"""A table of labels, written of any pictures in files, so that a person can edit it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kilnet.config import DataConfig
from kilnet.data.archive import is_archive, is_table_name
from kilnet.data.folder import FolderContents
from kilnet.errors import InputError
from kilnet.storage import given_path, write_csv


def write_label_table(table: Path, source: Path, contents: FolderContents, config: DataConfig) -> None:
    """Write one row per usable picture: path, label, and split, group and weight where there are some.

    Paths begin in the folder of the table where that is the folder of the pictures or one above it; else in the folder
    of the pictures, which is then given as `data.root`.

    Raises:
        InputError: there is a file of this name, or it does not end in .csv; the pictures are in an archive.
        StorageError: it cannot be written.
    """
    if table.suffix.lower() != ".csv":
        raise InputError(f"`write_table={str(table)!r}`: give it a name that ends in .csv")
    if table.exists():
        raise InputError(f"`write_table={str(table)!r}`: exists already; choose another name")
    if is_archive(source):
        raise InputError(f"{source}: `write_table` is for pictures in a folder; unpack the archive first")
    header = ["path", "label"]
    has_splits = bool(contents.split_folders)
    header += ["split"] if has_splits else []
    header += ["group"] if contents.group_names is not None else []
    header += ["weight"] if contents.weights is not None else []
    prefix = _prefix(table, _root(source, config))

    def rows() -> Iterator[list[Any]]:
        for index, path in enumerate(contents.pictures.paths):
            row: list[Any] = [prefix + path, contents.classes[contents.labels[index]]]
            row += [str(contents.splits[index])] if has_splits else []
            row += [contents.group_names[index]] if contents.group_names is not None else []
            row += [float(contents.weights[index])] if contents.weights is not None else []
            yield row

    write_csv(table, header, rows(), "\n")


def _root(source: Path, config: DataConfig) -> Path:
    if is_table_name(source.name) and not source.is_dir():
        return source.parent if config.root is None else given_path(config.root)
    return source


def _prefix(table: Path, root: Path) -> str:
    """Return what stands before each path: the way down from the table's folder to that of the pictures, if any."""
    down = os.path.relpath(root.resolve(), table.resolve().parent).replace(os.sep, "/")
    return "" if down == "." or down.startswith("..") else f"{down}/"
