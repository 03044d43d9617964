"""Deleting a run or a search, unless somebody writes it."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from kilnet.errors import BusyError, InputError, StorageError
from kilnet.runs.listing import ListedRun
from kilnet.storage import held

_LOCK = ".lock"  # of `kilnet.storage.held`; the tests compare them


def is_written(folder: Path) -> bool:
    """Return whether a living process holds a run or a search; nothing is made or changed there."""
    return _is_held(folder / _LOCK)


def delete(run: ListedRun, places: Sequence[Path]) -> None:
    """Delete the folder of a run or a search, and all in it.

    It gets a hidden name first, so that nobody finds half of it. Links in it are deleted, not what they name.

    Args:
        run: as it was listed.
        places: the folders that were listed; the run lies below one of them, and no link leads there.

    Raises:
        InputError: it is a link, gone, or none of the runs below these folders.
        BusyError: a process is writing it, or a part of it.
        StorageError: it cannot be deleted.
    """
    folder = run.path
    if not any(_is_below(folder, place) for place in places):
        raise InputError(f"{folder}: not a run below {' or '.join(map(str, places))}, or a link leads there")
    if any(_is_held(lock) for lock in _locks(folder)):
        raise _busy(folder)
    hidden = folder.with_name(f".deleted-{secrets.token_hex(8)}")
    try:
        with held(folder, "writing this run"):
            folder.rename(hidden)
    except BusyError:
        raise _busy(folder) from None
    except OSError as error:
        raise StorageError(f"cannot delete {folder}: {error.strerror or error}") from None
    shutil.rmtree(hidden, ignore_errors=True)
    if hidden.exists():
        raise StorageError(f"cannot delete all of {folder}; what is left is called {hidden}")


def _busy(folder: Path) -> BusyError:
    return BusyError(f"{folder}: a process is writing it; end that first")


def _is_below(folder: Path, place: Path) -> bool:
    if folder == place or not folder.is_relative_to(place) or folder.is_symlink() or not folder.is_dir():
        return False
    return folder.resolve() == place.resolve() / folder.relative_to(place)


def _locks(folder: Path) -> Iterator[Path]:
    for place, _, files in os.walk(folder):  # which follows no links
        if _LOCK in files:
            yield Path(place, _LOCK)


def _is_held(lock: Path) -> bool:
    if sys.platform == "win32":  # an open file cannot be renamed there, which is refused later
        return False
    import fcntl

    try:
        handle = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # none was ever held there
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for the blink of an eye
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
