"""Which files lie below a folder, and which sub-folder is which class of which split."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from kilnet.data.archive import Member, Place
from kilnet.data.litter import is_litter
from kilnet.data.split_folders import alike
from kilnet.errors import DataError, nearest

MAX_NAMES = 10
"""The most folders that are named in one line."""
_CLEAR_NAMES = ("train", "val", "valid", "validation", "test")
"""Everybody knows what is in folders of these names; how others were read is said."""


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used: its path below the data folder, and why."""

    path: str
    reason: str


def list_folder(folder: Place) -> tuple[list[Place], list[Place]]:
    """Return the sub-folders and the other files of a folder, sorted, without hidden ones and litter.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        children = [
            (child, child.is_dir()) for child in sorted(folder.iterdir()) if not is_litter(child.name)
        ]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None
    folders, files = ([child for child, is_dir in children if is_dir is kind] for kind in (True, False))
    return folders, files


def find_files(folder: Place, above: tuple[str, ...] = ()) -> tuple[list[Place], list[tuple[Place, str]]]:
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
    files: list[Place] = []
    problems: list[tuple[Place, str]] = []
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


@dataclass(frozen=True)
class ClassFolders(Generic[Place]):
    """Which folder holds which class of which split.

    Attributes:
        classes: names in Unicode's normal form C, sorted; of all splits together, so that a name has one label
            everywhere.
        folders: (split, label, folder); the split is "train" for all where the folder has no split folders.
        splits: the split folders that there are, by split.
        stray: files outside the class folders, relative to the folder.
        notices: how names were understood, where that is not plain; one line each.
    """

    classes: tuple[str, ...]
    folders: tuple[tuple[str, int, Place], ...]
    splits: dict[str, Place]
    stray: tuple[str, ...]
    notices: tuple[str, ...]


def find_classes(folder: Place, known: Sequence[str] | None = None) -> ClassFolders[Place]:
    """Find the class folders.

    Where there are folders that are named as splits are (see `split_folders`), and the one for training has
    sub-folders, the sub-folders of the splits are the classes. Else the sub-folders of `folder` are the classes.
    Hidden files and what systems leave behind do not count.

    Args:
        folder: of the data.
        known: the classes of a network that is to be evaluated; then no split is needed, and each may lack classes.

    Raises:
        DataError: no sub-folders; splits without train; a split given twice; a class that train lacks.
    """
    known = None if known is None else [unicodedata.normalize("NFC", name) for name in known]
    children, stray = list_folder(folder)
    if not children:
        raise DataError(
            f"{folder}: no sub-folders; put the pictures of each class into a sub-folder of its own"
        )
    splits, notices = _find_splits(folder, children, known)
    for child in set(children) - set(splits.values()) if splits else ():
        stray += find_files(child)[0]

    found = []
    for split, split_folder in (splits or {"train": folder}).items():
        class_folders, beside = list_folder(_unwrapped(split_folder) if splits else folder)
        found += [(split, child) for child in class_folders]
        if splits:
            stray += beside
    counted = [child for split, child in found if split == "train" or known is not None]
    classes = tuple(sorted({class_name(child) for child in counted}))
    for split, child in found:
        if (name := class_name(child)) not in classes:
            raise DataError(
                f"{child}: {split} has a class {name} that train lacks{nearest(name, list(classes))}"
            )
    refuse_unknown(folder, classes, known)
    return ClassFolders(
        classes=classes,
        folders=tuple((split, classes.index(class_name(child)), child) for split, child in found),
        splits=splits,
        stray=tuple(sorted(path.relative_to(folder).as_posix() for path in stray)),
        notices=tuple(notices),
    )


def refuse_unknown(where: object, classes: Sequence[str], known: Sequence[str] | None) -> None:
    """Raise DataError where data has a class that is not among a network's; None allows all."""
    if known is not None and (unknown := [name for name in classes if name not in known]):
        raise DataError(
            f"{where}: the network does not know {', '.join(unknown)}; it was trained on {', '.join(known)}"
        )


def class_name(folder: Path | Member) -> str:
    """Return the class of a folder: its name, in one normal form, since systems write the same letters in two."""
    return unicodedata.normalize("NFC", folder.name)


def _find_splits(
    folder: Place, children: list[Place], known: Sequence[str] | None
) -> tuple[dict[str, Place], list[str]]:
    """Return the split folders, if there are any, and what is to be said about the names.

    Raises:
        DataError: folders are named as splits are, and cannot be used as such.
    """
    named = alike(children)
    every = [child for same in named.values() for child in same]
    if not every or (known and all(class_name(child) in known for child in children)):
        return {}, []
    with_classes = {child for child in every if list_folder(child)[0]}
    present = _listed(every)
    if not with_classes.intersection(named.get("train", ())):
        if known and with_classes and set(children) == set(every):
            named = {split: same for split, same in named.items() if with_classes.intersection(same)}
        elif set(children) == set(every) or ("train" in named and len(named) > 1) or len(with_classes) > 1:
            raise DataError(f"{folder}: has {present}, but no train folder with one sub-folder per class")
        else:
            verb = "looks like a split" if len(every) == 1 else "look like splits"
            return {}, [
                f"{present} {verb}, but without train beside it; read as a class like the other folders"
            ]
    for split, same in named.items():
        if len(same) > 1:
            raise DataError(f"{folder}: {_listed(same)} are the same split ({split}); keep one")
    splits = {split: same[0] for split, same in named.items()}
    if all(child.name.lower() in _CLEAR_NAMES for child in every):
        return splits, []
    return splits, [
        "read as splits: " + ", ".join(f"{child.name} for {split}" for split, child in splits.items())
    ]


def _unwrapped(folder: Place) -> Place:
    """Return a split folder, or the folder of the same name in it that holds its classes, as archives have it."""
    folders, files = list_folder(folder)
    if len(folders) == 1 and not files and folders[0].name == folder.name and list_folder(folders[0])[0]:
        return folders[0]
    return folder


def folders_below(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the folders in each folder of a class, in those that hold no files of their own.

    Args:
        paths: of the files, relative to the folder of the classes.
    """
    below: dict[str, set[str]] = {}
    for path in paths:
        name, *rest = path.split("/", 2)
        below.setdefault(name, set()).add(rest[0] if len(rest) == 2 else "")
    return {name: sorted(folders) for name, folders in below.items() if "" not in folders}


def turned_round(paths: Sequence[str]) -> list[str]:
    """Say it where what is read as classes may be something else, with the classes or the splits below it.

    Args:
        paths: as of `folders_below`.
    """
    below = folders_below(paths)
    for name, folders in below.items():
        named = alike([Path(folder) for folder in folders])
        if "train" in named and len(named) > 1:
            found = _listed([folder for same in named.values() for folder in same])
            return [f"{name} holds {found}, all read as pictures of {name}; splits belong above the classes"]
    are_all = len(below) == len({path.partition("/")[0] for path in paths})
    inner = list(below.values())
    if are_all and len(inner) > 1 and len(inner[0]) > 1 and inner.count(inner[0]) == len(inner):
        outer, each = (_listed([Path(name) for name in names]) for names in (below, inner[0]))
        return [f"read as classes: {outer}; in each of them are {each}, which may be the classes"]
    return []


def _listed(folders: Sequence[Path | Member]) -> str:
    *others, last = sorted(folder.name for folder in folders)
    if len(others) > MAX_NAMES:
        return f"{', '.join(others[:MAX_NAMES])} and {len(others) - MAX_NAMES + 1} more"
    return f"{', '.join(others)} and {last}" if others else last
