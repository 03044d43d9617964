"""Files that are either whole or absent: temp file, fsync, rename."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

from kilnet.errors import StorageError


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step that survives a crash at any moment.

    The temporary file lies beside the target and is removed when writing fails.

    Raises:
        StorageError: the disk is full, the folder is read-only or gone; `path` is as it was.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by UTF-8 `content`; see `write_bytes`."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by indented JSON; see `write_bytes`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in `folder`; call it holding the folder's lock."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return the folder for what can be made again: `KILNET_CACHE`, or the system's cache folder."""
    return Path(os.environ.get("KILNET_CACHE") or platformdirs.user_cache_dir("kilnet", appauthor=False))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
