"""Every file operation of this process in one folder is counted; one of them is the last, or fails.

It wraps what Python itself offers (`open`, `os.replace`, `os.fsync`), in a forked child, and nothing in Kilnet.
"""

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILLED = "killed"
PHASES = ("before", "in", "after")
WRITING = set("wax+")


@dataclass(frozen=True)
class Strike:
    """What happens at one operation.

    Attributes:
        at: its number, from 1; 0 is none.
        effect: `KILLED`, or the name of an error, such as "ENOSPC".
        phase: "before" the operation, "in" it (half of the bytes are written) or "after" it.
        process: "main", or "worker 2" for the second worker that a search starts.
    """

    at: int = 0
    effect: str = KILLED
    phase: str = "before"
    process: str = "main"


class Operations:
    """Counts what is done in a folder, and strikes once.

    Args:
        folder: operations elsewhere are not counted.
        strike: where, and how.
        log: gets a line for each operation: its name, and its path in the folder.
    """

    _current: "Operations | None" = None

    def __init__(self, folder: Path, strike: Strike, log: Path | None = None) -> None:
        self._folder = folder.resolve()
        self._strike = strike
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else None
        self._count = 0
        self._is_in_one = False

    def wrap(self) -> None:
        """From now on all operations of this process are counted."""
        Operations._current = self
        for place in ("open", "mkdir", "unlink", "remove", "rmdir", "rename", "replace"):
            self._wrap(place, {"remove": "unlink", "rmdir": "unlink", "replace": "rename"}.get(place, place))
        fsync, write = os.fsync, os.write
        os.fsync = lambda file: self.do("fsync", _path_of(file), lambda: fsync(file))

        def written(file: int, content: Any) -> int:
            return self.do(
                "write", _path_of(file), lambda: write(file, content), lambda: write(file, _half(content))
            )

        os.write = written
        io.open = builtins.open = self._opened(io.open)

    @classmethod
    def stop(cls) -> None:
        """Count no more, in this process."""
        cls._current = None

    def do(self, name: str, path: Any, act: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        """Do one operation, unless it is the one that is struck."""
        if self._is_in_one or Operations._current is not self or not self._covers(path):
            return act()
        self._count += 1
        self._is_in_one = True
        try:
            if self._log is not None:
                os.write(self._log, f"{name} {self._whole(path).relative_to(self._folder)}\n".encode())
            is_struck = self._count == self._strike.at
            if is_struck and self._strike.phase == "before":
                self._hit(path)
            if is_struck and self._strike.phase == "in":
                half()
                self._hit(path)
            result = act()
            if is_struck:
                self._hit(path)
            return result
        finally:
            self._is_in_one = False

    def _hit(self, path: Any) -> None:
        if self._strike.effect == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self._strike.effect)
        raise OSError(number, os.strerror(number), os.fspath(path))

    def _covers(self, path: Any) -> bool:
        return path is not None and not isinstance(path, int) and self._folder in self._whole(path).parents

    def _whole(self, path: Any) -> Path:
        path = Path(os.fsdecode(path))
        return path.parent.resolve() / path.name

    def _wrap(self, place: str, name: str) -> None:
        real = getattr(os, place)

        def called(path: Any, *rest: Any, **named: Any) -> Any:
            folder = named.get("dir_fd")
            whole = path if folder is None else Path(_path_of(folder) or "/", path)
            return self.do(name, whole, lambda: real(path, *rest, **named))

        setattr(os, place, called)

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if isinstance(file, int) or not self._covers(file):
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not WRITING & set(mode):
                named = (mode, buffering, encoding, errors, newline, closefd, opener)
                return self.do("open", file, lambda: real(file, *named))
            raw = self.do(
                "open", file, lambda: _CountedFile(self, file, mode.replace("b", "").replace("t", ""))
            )
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

        return opened


class _CountedFile(io.FileIO):
    """A file whose writes are counted."""

    def __init__(self, operations: Operations, path: Any, mode: str) -> None:
        self._operations = operations
        super().__init__(path, mode)

    def write(self, content: Any) -> Any:
        """Write, or half of it."""
        write = super().write
        return self._operations.do("write", self.name, lambda: write(content), lambda: write(_half(content)))


def _half(content: Any) -> Any:
    return memoryview(content).cast("B")[: memoryview(content).nbytes // 2]


def _path_of(file: Any) -> str | None:
    number = file if isinstance(file, int) else file.fileno()
    try:
        return str(Path(f"/proc/self/fd/{number}").readlink())
    except OSError:
        return None
