"""Files that are either whole or absent: temp file, fsync, rename."""

import atexit
import csv
import errno
import io
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from kilnet.errors import BusyError, InputError, RunFolderError, StorageError

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:\\|u(d[89a-f][0-9a-f]{2}))")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step that survives a crash at any moment.

    The temporary file lies beside the target and is removed when writing fails.

    Raises:
        StorageError: the disk is full, the folder is read-only or gone; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:  # not tempfile: its files are the owner's alone
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            hint = "; make room and run the same command again" if error.errno in _FULL else ""
            raise StorageError(f"cannot write {path}: {error.strerror or error}{hint}") from error
        raise
    _sync_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by UTF-8 `content`; see `write_bytes`.

    Undecodable bytes of a file name, which Python holds as lone surrogates, are written as `\\udcff`.
    """
    write_bytes(path, content.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by indented JSON; see `write_bytes`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]], end: str = "\r\n") -> None:
    """Replace `path` by a table whose lines end with `end`, by default as in RFC 4180; see `write_bytes`.

    Names that are no text are written by `escaped`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerows(
        [escaped(cell) if isinstance(cell, str) else cell for cell in row] for row in (header, *rows)
    )
    write_text(path, text.getvalue())


def escaped(cell: str) -> str:
    """Return a name as a table holds it: with `\\udcff` for a byte that is no text, and then `\\\\` for a backslash."""
    if not _SURROGATE.search(cell) and "\\ud" not in cell:
        return cell
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):x}", cell.replace("\\", "\\\\"))


def unescaped(cell: str) -> str:
    """Return the name that `escaped` was given."""
    if "\\ud" not in cell:
        return cell
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", cell)


def make_folder(path: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file; empty where the file is missing, damaged or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def remember(name: str, key: str, value: Any) -> None:
    """Keep a JSON-able value in a file of the cache folder; where that cannot be written, nothing is kept."""
    path = cache_folder() / name
    with suppress(StorageError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**read_json(path), key: value})


def recall(name: str, key: str) -> Any:
    """Return what `remember` has kept, or None."""
    return read_json(cache_folder() / name).get(key)


def first_fitting(parent: Path, name: str, fits: Callable[[Path], bool]) -> Path:
    """Return the first of `name`, `name-2`, `name-3` and so on in a folder that fits."""
    number = 1
    while not fits(path := parent / (name if number == 1 else f"{name}-{number}")):
        number += 1
    return path


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Make a folder and lock it; the system releases the lock when the process dies.

    Args:
        folder: made where it is not there.
        what: another process is doing, if one holds it: "writing this run".

    Raises:
        BusyError: another process holds it.
        RunFolderError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock", blocking=False)
        lock.acquire()
    except filelock.Timeout:
        raise BusyError(
            f"{folder}: another process is {what}; wait for it, or choose another `out`"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"{folder}: cannot be written: {error.strerror or error}; choose another `out`"
        ) from None
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in `folder`; call it holding the folder's lock."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def given_path(given: str | Path) -> Path:
    """Return a path that a user gave: a leading `~`, which not every shell replaces, is the home folder.

    Raises:
        InputError: no file can have this name.
    """
    path = Path(os.path.expanduser(given))  # noqa: PTH111 it takes ./~ as it is, and needs no home
    try:
        path.lstat()
    except ValueError:
        raise InputError(f"{path}: no name of a file: it holds a zero byte") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise InputError(f"{path}: no name of a file: {error.strerror}") from None
    return path


def cache_folder() -> Path:
    """Return the folder for what can be made again: the lasting one, or one that goes with this process."""
    return lasting_cache_folder() or _cache_of_this_process()


def lasting_cache_folder() -> Path | None:
    """Return `KILNET_CACHE`, or the system's cache folder; None for a user without a home."""
    if chosen := os.environ.get("KILNET_CACHE"):
        return given_path(chosen)
    try:
        folder = given_path(platformdirs.user_cache_dir("kilnet", appauthor=False))
    except RuntimeError:  # as newer versions of platformdirs say it
        return None
    return folder if folder.is_absolute() else None


@cache
def _cache_of_this_process() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kilnet-"))  # not a fixed name, under which others could lay files
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse; the file itself is written
            os.fsync(handle)
    finally:
        os.close(handle)
