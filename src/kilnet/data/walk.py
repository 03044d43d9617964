"""Which files lie below a folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from kilnet.errors import DataError

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
        children = [(child, child.is_dir()) for child in sorted(folder.iterdir()) if _counts(child.name)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None
    return [child for child, is_dir in children if is_dir], [
        child for child, is_dir in children if not is_dir
    ]


def find_files(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the files below `folder`, sorted, and what cannot be read, with the reason.

    Links are followed, but not into a folder that is being walked already.
    """
    files: list[Path] = []
    problems: list[tuple[Path, str]] = []
    _walk(folder, (), files, problems)
    return files, problems


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in LITTER


def _walk(folder: Path, above: tuple[str, ...], files: list[Path], problems: list[tuple[Path, str]]) -> None:
    real = os.path.realpath(folder)
    if real in above:
        problems.append((folder, "a link to a folder above it"))
        return
    try:
        folders, others = list_folder(folder)
    except DataError as error:
        problems.append((folder, str(error).removeprefix(f"{folder}: ")))
        return
    for child in folders:
        _walk(child, (*above, real), files, problems)
    for child in others:
        if child.is_file():
            files.append(child)
        else:
            problems.append((child, "a broken link" if child.is_symlink() else "not a regular file"))
