"""Which files lie below a folder, and which sub-folder is which class of which split."""

import os
from dataclasses import dataclass
from pathlib import Path

from kilnet.errors import DataError, nearest

LITTER = {"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx", "icon\r"}
"""What file managers leave behind."""


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used: its path below the data folder, and why."""

    path: str
    reason: str


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the sub-folders and the other files of a folder, sorted, without hidden ones and litter.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        children = [
            (child, child.is_dir())
            for child in sorted(folder.iterdir())
            if not child.name.startswith(".") and child.name.lower() not in LITTER
        ]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None
    folders, files = ([child for child, is_dir in children if is_dir is kind] for kind in (True, False))
    return folders, files


def find_files(folder: Path, above: tuple[str, ...] = ()) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the files below `folder`, sorted, and what cannot be read, with the reason.

    Links are followed, but not into one of the real folders `above`, those that are being walked already.
    """
    real = os.path.realpath(folder)
    if real in above:
        return [], [(folder, "a link to a folder above it")]
    try:
        folders, others = list_folder(folder)
    except DataError as error:
        return [], [(folder, str(error).removeprefix(f"{folder}: "))]
    files: list[Path] = []
    problems: list[tuple[Path, str]] = []
    for child in folders:
        files_below, problems_below = find_files(child, (*above, real))
        files += files_below
        problems += problems_below
    for child in others:
        if child.is_file():
            files.append(child)
        else:
            problems.append((child, "a broken link" if child.is_symlink() else "not a regular file"))
    return files, problems


SPLIT_FOLDERS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "validation"
)


@dataclass(frozen=True)
class ClassFolders:
    """Which folder holds which class of which split.

    Attributes:
        classes: names, sorted; of all splits together, so that a name has one label everywhere.
        folders: (split, label, folder); the split is "train" for all where the folder has no split folders.
        stray: files outside the class folders, relative to the folder.
    """

    classes: tuple[str, ...]
    folders: tuple[tuple[str, int, Path], ...]
    stray: tuple[str, ...]


def find_classes(folder: Path) -> ClassFolders:
    """Find the class folders.

    Where there is a folder `train` with sub-folders (in any case), it and `val`, `valid`, `validation` and
    `test` beside it are splits, and their sub-folders are the classes. Else the sub-folders of `folder` are
    the classes. Hidden files and what file managers leave behind do not count.

    Raises:
        DataError: no sub-folders; `test` without `train`; a split given twice; a class that train lacks.
    """
    children, stray = list_folder(folder)
    if not children:
        raise DataError(
            f"{folder}: no sub-folders; put the pictures of each class into a sub-folder of its own"
        )
    splits = _find_splits(folder, children)
    for child in set(children) - set(splits.values()) if splits else ():
        stray += find_files(child)[0]
    splits = splits or {"train": folder}

    found = []
    for split, split_folder in splits.items():
        class_folders, beside = list_folder(split_folder)
        found += [(split, child) for child in class_folders]
        if split_folder != folder:
            stray += beside
    classes = tuple(sorted({child.name for split, child in found if split == "train"}))
    for split, child in found:
        if child.name not in classes:
            hint = nearest(child.name, list(classes))
            raise DataError(f"{child}: {split} has a class {child.name} that train lacks{hint}")
    return ClassFolders(
        classes,
        tuple((split, classes.index(child.name), child) for split, child in found),
        tuple(sorted(path.relative_to(folder).as_posix() for path in stray)),
    )


def _find_splits(folder: Path, children: list[Path]) -> dict[str, Path]:
    splits: dict[str, Path] = {}
    named = [child for child in children if child.name.lower() in SPLIT_FOLDERS]
    has_train = any(child.name.lower() == "train" and list_folder(child)[0] for child in named)
    if not has_train:
        if named == children:
            present = ", ".join(child.name for child in children)
            raise DataError(f"{folder}: has {present}, but no train folder with one sub-folder per class")
        return {}
    for child in named:
        split = SPLIT_FOLDERS[child.name.lower()]
        if split in splits:
            raise DataError(f"{folder}: {splits[split].name} and {child.name} are the same split; keep one")
        splits[split] = child
    return splits
