"""Pictures with labels from files: a folder per class, a table of labels, or either of them in an archive."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kilnet.config import DataConfig
from kilnet.data.archive import Member, is_archive, is_table_name, opened
from kilnet.data.class_folders import Problem, list_folder, refuse_unknown
from kilnet.data.dataset import ImageDataset, Progress, silent
from kilnet.data.decoded import DecodedPictures
from kilnet.data.folder import FolderContents, assemble, read_folder
from kilnet.data.grey import in_channels
from kilnet.data.groups import EXIF, is_pattern, names_by_exif, names_by_pattern
from kilnet.data.label_table import LabelTable, Row, has_columns, parse_columns, read_label_table
from kilnet.data.pictures import read_pictures
from kilnet.errors import DataError, nearest
from kilnet.storage import MAX_TABLE_BYTES, given_path, read_bytes, reading

ENDINGS = ".csv, .tsv, .parquet, .zip, .tar, .tar.gz"


def load_folder(
    source: Path, config: DataConfig, progress: Progress = silent, decoded: DecodedPictures | None = None
) -> ImageDataset:
    """Load a folder of pictures, a table of labels or an archive as a data set; see `read_labelled` and `assemble`."""
    return assemble(source, read_labelled(source, config, progress, None, decoded), config)


def read_labelled(
    source: Path,
    config: DataConfig,
    progress: Progress = silent,
    known: Sequence[str] | None = None,
    decoded: DecodedPictures | None = None,
) -> FolderContents:
    """Decode the pictures of a folder, a table or an archive; rows and files that cannot be used are listed.

    In an archive, a table at the top is used where it names paths and labels, or where there are no class folders.

    Args:
        source, config: what to read, and how.
        progress: told how far decoding is.
        known: see `find_classes`.
        decoded: see `read_pictures`.

    Raises:
        DataError, MissingPackageError: it cannot be read as a whole, or has no classes.
    """
    if source.is_dir():
        _refuse_columns(source, config)
        return _finished(read_folder(source, config, progress, known, decoded), source, config)
    if is_table_name(source.name):
        with reading(source, "give a table of labels", "cannot be read", DataError):
            content = read_bytes(source, MAX_TABLE_BYTES)
        root = source.parent if config.root is None else given_path(config.root)
        if not root.is_dir():
            raise DataError(f"`data.root={config.root!r}`: no such folder")
        return _read_table(source, content, root, config, progress, known, None, decoded)
    with opened(source) as archive:
        top = archive.top
        folders, files = list_folder(top)
        tables = [file for file in files if is_table_name(file.name)]
        for table in tables if len(tables) == 1 else ():
            content = archive.read(table.path)
            if config.columns or len(folders) < 2 or has_columns(table.name, content):
                inside = posixpath.normpath(posixpath.join(top.path, config.root or ""))
                root_in = Member(archive, "" if inside == "." else inside)
                if not root_in.is_dir():
                    raise DataError(
                        f"{source}: `data.root={config.root!r}`: no such folder beside {table.name} in it"
                    )
                return _read_table(source, content, root_in, config, progress, known, table.name, decoded)
        _refuse_columns(source, config)
        return _finished(read_folder(top, config, progress, known, decoded), top, config)


def find_source(source: str, names: Sequence[str]) -> Path:
    """Return the folder, table or archive that `source` names.

    Args:
        names: of the data sets that are no files.

    Raises:
        DataError: it is none; the message tells a mistyped name from a missing folder.
    """
    path = given_path(source)
    if path.is_dir() or (path.is_file() and (is_archive(path) or is_table_name(path.name))):
        return path
    if path.exists():
        raise DataError(
            f"{source}: a file, not a folder; give a folder with one sub-folder of pictures per class, or a table of "
            f"labels or an archive that ends in one of {ENDINGS}"
        )
    raise DataError(f"{source}: no such folder, nor a known data set{nearest(source, list(names))}")


def _refuse_columns(source: Path, config: DataConfig) -> None:
    for key, value in (("columns", config.columns), ("root", config.root)):
        if value is not None:
            raise DataError(f"{source}: `data.{key}={value!r}` is for a table of labels, and this is none")
    if config.group is not None and is_column(config.group):
        raise DataError(
            f"{source}: `data.group={config.group!r}`: no table has such a column here; write a pattern on the paths, "
            "such as '(?P<group>patient\\d+)'"
        )


def _read_table(
    source: Path,
    content: bytes,
    root: Path | Member,
    config: DataConfig,
    progress: Progress,
    known: Sequence[str] | None,
    name: str | None = None,
    decoded: DecodedPictures | None = None,
) -> FolderContents:
    where = str(source) if name is None else f"{source}/{name}"
    columns = parse_columns(config.columns)
    if config.group is not None and is_column(config.group):
        columns["group"] = config.group
    table = read_label_table(where, content, columns, lambda path: _below(root, path))
    rows = {row.path: row for row in table.rows}
    _refuse_wrong_root(where, table, root)
    pictures = read_pictures(
        root, list(rows), config.image_size, progress, config.fit or "pad", source, decoded
    )
    kept = [rows[path] for path in pictures.paths]
    classes = _classes(where, kept or table.rows, known)
    unusable = [Problem(rows[problem.path].where, problem.reason) for problem in pictures.problems]
    splits = [row.split or "train" for row in kept]
    contents = FolderContents(
        classes=classes,
        pictures=pictures,
        splits=np.array(splits, dtype=np.str_),
        labels=np.array([classes.index(row.label) for row in kept], dtype=np.int64),
        split_folders={split: split for split in dict.fromkeys(splits)} if "split" in table.columns else {},
        problems=(*table.problems, *unusable),
        stray=(),
        notices=_notices(table, columns),
        group_names=tuple(row.group or "" for row in kept) if "group" in table.columns else None,
        weights=np.array([row.weight for row in kept], np.float32) if "weight" in table.columns else None,
        unit="row",
    )
    return _finished(contents, root, config)


def _finished(contents: FolderContents, folder: Path | Member, config: DataConfig) -> FolderContents:
    """Return what was found in the channels that are asked for, with the groups that are in paths or EXIF."""
    pictures = contents.pictures
    contents = replace(
        contents, pictures=replace(pictures, images=in_channels(pictures.images, config.channels))
    )
    if config.group is None or is_column(config.group):
        return contents
    paths = contents.pictures.paths
    is_exif = config.group == EXIF
    names = names_by_exif(folder, paths) if is_exif else names_by_pattern(config.group, paths)
    return replace(contents, group_names=names)


def is_column(group: str) -> bool:
    """Whether `data.group` names a column of a table."""
    return group != EXIF and not is_pattern(group)


def _below(root: Path | Member, path: str) -> str:
    plain = path.replace("\\", "/") if "/" not in path else path  # as Windows writes it
    if isinstance(root, Path) and os.path.isabs(plain):  # noqa: PTH117 no path of Windows on Linux
        top = os.path.abspath(root)  # noqa: PTH100 a link in the folder is the user's own
        plain = os.path.relpath(plain, top).replace(os.sep, "/")
    plain = posixpath.normpath(plain)
    if plain.startswith(("../", "/")) or plain == ".." or plain[1:3] == ":/" or "\0" in plain:
        raise DataError(f"its path leads out of {root}")
    return plain


def _refuse_wrong_root(where: str, table: LabelTable, root: Path | Member) -> None:
    paths = [row.path for row in table.rows]
    if paths and not any(_is_file(root / path) for path in paths):
        beside = sorted(
            child.name for child in root.iterdir() if child.is_dir() and _is_file(child / paths[0])
        )
        advice = (
            f"; `data.root={str(root / beside[0]) if isinstance(root, Path) else beside[0]!r}`"
            if beside
            else ""
        )
        advice = advice or "; `data.root='...'` names the folder that they begin in"
        raise DataError(
            f"{where}: no picture of its {len(paths):,} rows is there, first {root / paths[0]}{advice}"
        )
    if not paths and any("leads out of" in problem.reason for problem in table.problems):
        raise DataError(
            f"{where}: {table.problems[0].path}: {table.problems[0].reason}; `data.root='/'` allows all folders"
        )


def _is_file(path: Path | Member) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _classes(where: str, rows: Sequence[Row], known: Sequence[str] | None) -> tuple[str, ...]:
    classes = tuple(sorted({row.label for row in rows if known is not None or row.split in (None, "train")}))
    for row in rows:
        if row.label not in classes:
            raise DataError(
                f"{where}: {row.where}: {row.split} has a class {row.label} that train lacks"
                f"{nearest(row.label, list(classes))}"
            )
    refuse_unknown(where, classes, known)
    return classes


def _notices(table: LabelTable, named: dict[str, str]) -> tuple[str, ...]:
    found = [
        f"{name} for {kind}" for kind, name in table.columns.items() if kind not in named and kind != name
    ]
    return ("columns read: " + ", ".join(found),) if found else ()
