"""Files that are either whole or absent (temp file, fsync, rename), and how they are read: bounded and verified.

What numbers come from carries a CRC-32 of its content, which finds every change of up to 32 bits in a row
(Peterson and Brown, 1961, "Cyclic codes for error detection"). Files of earlier versions have none and are read too.
"""

import atexit
import csv
import errno
import io
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import filelock
import platformdirs
from pydantic import InstanceOf, ValidationError

from kilnet.errors import BusyError, InputError, KilnetError, RunFolderError, StorageError
from kilnet.folders import inside

MAX_BYTES = 1 << 36  # of tensors and arrays; what is larger than the memory is refused too
MAX_TABLE_BYTES = 1 << 30  # room for the predictions of ten million images
MAX_JSON_BYTES = 1 << 27  # room for the confusion matrices of three thousand classes
Text = InstanceOf[str]  # in a pydantic model, which would refuse undecodable bytes of a file name in a `str`
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:\\|u(d[89a-f][0-9a-f]{2}))")
# What begins a formula in a spreadsheet (OWASP, "CSV Injection"), also behind quotes that were put before it.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_MAX_DEPTH = 6  # a fold of a fine-tuned run in a search has its state this far down
Part = bytes | memoryview
CHECKSUM = "checksum"


def write_bytes(path: Path, content: bytes | Sequence[Part]) -> None:
    """Replace `path` by `content`, or by its parts, in one step that survives a crash at any moment.

    The temporary file lies beside the target and is removed when writing fails.

    Raises:
        StorageError: the disk is full, the folder is read-only or gone; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:  # not tempfile: its files are the owner's alone
            file.writelines([content] if isinstance(content, bytes) else content)
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
    """Replace `path` by a table, its cells as `write_rows` has them; see `write_bytes`."""
    text = io.StringIO(newline="")
    write_rows(text, [header], end)
    write_rows(text, rows, end)
    write_text(path, text.getvalue())


def write_rows(file: TextIO, rows: Iterable[Iterable[Any]], end: str = "\r\n") -> None:
    """Write rows of a table, each as soon as it is there; lines end with `end`, by default as in RFC 4180.

    Names that are no text are written by `escaped`, and text that a spreadsheet would run gets a quote before it;
    `from_cell` reads both.
    """
    writer = csv.writer(file, lineterminator=end)
    writer.writerows([_as_cell(value) for value in row] for row in rows)


def _as_cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = escaped(value)
    if not _FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def from_cell(text: str) -> str:
    """Return the text for which `write_rows` has written a cell."""
    return unescaped(text[1:] if text.startswith("'") and _FORMULA.match(text) else text)


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


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Make a folder, and those above it if that is asked for; raises StorageError where it cannot be made."""
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from None


def remove(path: Path) -> None:
    """Delete a file, unless it is gone; raises StorageError where it cannot be deleted."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot delete {path}: {error.strerror or error}") from None


@contextmanager
def reading(
    path: Path, advice: str, problem: str = "damaged", error: type[KilnetError] = RunFolderError
) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read and made sense of into one line; a missing one stays what it is.

    Args:
        path, problem, advice: the line's parts; the reason stands before the advice on what can still be done.
        error: what is raised.
    """
    try:
        yield
    except (KilnetError, FileNotFoundError):
        raise
    except Exception as found:  # a file that anybody wrote may lead to any
        raise error(f"{path}: {problem} ({_reason(found)}); {advice}") from None


def _reason(error: Exception) -> str:
    match error:
        case RecursionError():
            return "nested too deeply"
        case MemoryError():
            return "too large for the memory"
        case KeyError():
            return f"{error} is missing"
        case OSError(strerror=str(reason)):
            return reason
        case ValidationError():
            first = error.errors()[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading; raises OSError for all else: a pipe would block, a device never end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
            raise OSError(f"{'a folder' if stat.S_ISDIR(mode) else 'a pipe or a device'}, not a file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file; raises OSError where it cannot be read, or is larger than that."""
    with open_file(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > max_bytes:
            raise OSError(f"{size:,} bytes, more than {max_bytes:,}")
        return file.read(size)


def read_text(path: Path, max_bytes: int = MAX_TABLE_BYTES) -> str:
    """Return the UTF-8 content of a file; see `read_bytes`."""
    return read_bytes(path, max_bytes).decode("utf-8-sig")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; see `read_bytes`."""
    content = json.loads(read_text(path, MAX_JSON_BYTES))
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def parse_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of a table by column; raises ValueError or csv.Error where one does not fit the header."""
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


def checksum(content: Part) -> str:
    """Return the CRC-32 of bytes as eight hexadecimal digits."""
    return f"{zlib.crc32(content):08x}"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be written as JSON with a checksum as its last entry."""
    return {**content, CHECKSUM: checksum(json.dumps(content).encode())}


def unsealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was `sealed`, or never was, as it was read from JSON; raises ValueError where it has changed."""
    rest = dict(content)
    verify(rest.pop(CHECKSUM, None), json.dumps(rest).encode())
    return rest


def sealed_array(content: bytes) -> bytes:
    """Return the content of a .npy file with a checksum behind its array, where nobody else looks."""
    return content + f"{CHECKSUM} {checksum(content)}".encode()


def verify_array(content: Part, num_bytes: int) -> None:
    """Raise ValueError where the content of a file has changed; without its checksum it has so many bytes."""
    if seal := bytes(content[num_bytes:]).decode():
        verify(seal.removeprefix(f"{CHECKSUM} "), content[:num_bytes])


def verify(found: Any, content: Part) -> None:
    """Raise ValueError where a checksum, if there is one, is not that of the content."""
    if found is not None and found != checksum(content):
        raise ValueError("its checksum is wrong: it has changed since it was written")


def remember(name: str, key: str, value: Any) -> None:
    """Keep a JSON-able value in a file of the cache folder; where that cannot be written, nothing is kept."""
    path = cache_folder() / name
    with suppress(StorageError):
        make_folder(path.parent, parents=True)
        write_json(path, {**_remembered(path), key: value})


def recall(name: str, key: str) -> Any:
    """Return what `remember` has kept, or None."""
    return _remembered(cache_folder() / name).get(key)


def _remembered(path: Path) -> dict[str, Any]:
    try:
        with reading(path, "it is written again"):
            return read_json(path)
    except (RunFolderError, FileNotFoundError):
        return {}


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
        lock = filelock.FileLock(inside(folder, ".lock"), blocking=False)
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


def remove_leftovers(folder: Path, depth: int = 0) -> None:
    """Delete temporary files that killed processes left in a folder and below it; call it holding the folder's lock.

    Links are not followed. Runs inside that another process holds are left to it. What cannot be deleted does no harm.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False) and depth < _MAX_DEPTH:
                file = path / ".lock"
                lock = filelock.FileLock(file, blocking=False) if file.is_file() else nullcontext()
                with suppress(OSError), lock:  # filelock.Timeout is one
                    remove_leftovers(path, depth + 1)
            elif _LEFTOVER.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    path.unlink()


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
    with suppress(OSError):  # some network file systems refuse; the file itself is written
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
