"""What the command line writes: results on standard output, words about them on standard error."""

import errno
import json
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import IO, Any, cast

from kilnet.runs.wording import IN_DETAIL, in_ascii, printable, speaks_ascii

_SECONDS_OF_SILENCE = 1.5  # as `kilnet.terminal.progress`, which imports torch


class OutputError(Exception):
    """Standard output takes no more. This is no OSError, with which rich would deal in its own way."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.reader_has_left = error.errno == errno.EPIPE


class _Output:
    """Standard output, whose errors are told from all others."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputError(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def results_written() -> Iterator[None]:
    """Raise an OutputError within this context where standard output cannot be written, at its end at the latest.

    What cannot be written on standard error is lost, and changes no exit code.
    """
    stream = sys.stdout
    sys.stdout = cast("IO[str]", _Output(stream))
    try:
        yield
        sys.stdout.flush()
    except OutputError:
        _discard(stream)
        raise
    finally:
        sys.stdout = stream
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)


def own_model_words(model: str | None) -> list[str]:
    """Return the option that names a network outside Kilnet, without which nothing of it is loaded."""
    return ["--model", model] if model else []


def print_rows(rows: Iterable[Iterable[Any]]) -> None:
    """Print a table as CSV, each row as soon as it is there; a terminal is shown cells that it cannot obey."""
    from kilnet.storage import write_rows

    shown = printable if sys.stdout.isatty() else str
    write_rows(sys.stdout, ((shown(cell) if isinstance(cell, str) else cell for cell in row) for row in rows))


def say(line: str, error: bool = False) -> None:
    """Print one line; nobody need hear what is said on standard error."""
    stream = sys.stderr if error else sys.stdout
    try:
        text = _wrapped(printable(line), stream)
        print(in_ascii(text) if speaks_ascii() else text, file=stream, flush=True)
    except OSError:
        _discard(sys.stderr)


def _wrapped(line: str, stream: IO[str]) -> str:
    """Return a line as a terminal shows it best: broken between words, unless it holds a command to be copied."""
    if re.search(r"(?:: |`)kilnet ", line) or not stream.isatty():
        return line
    lines = textwrap.wrap(
        line,
        max(shutil.get_terminal_size().columns, 20),
        initial_indent=" " * (len(line) - len(line.lstrip(" "))),
        subsequent_indent=" " * (len(line) - len(line.lstrip(" ")) + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


@contextmanager
def told_if_slow(line: str, quiet: bool) -> Iterator[None]:
    """Say on standard error what is under way within this context, if it takes long."""
    timer = Timer(_SECONDS_OF_SILENCE, say, [line], {"error": True})
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def say_next(*words: str | Path) -> None:
    """Print the next sensible command, quoted so that it can be pasted into a shell."""
    say(f"next: {shlex.join(map(str, words))}")


@contextmanager
def told_in_detail(verbose: bool) -> Iterator[None]:
    """Let progress tell what was measured too, within this context."""
    token = IN_DETAIL.set(verbose)
    try:
        yield
    finally:
        IN_DETAIL.reset(token)


def _discard(stream: IO[str]) -> None:
    """Let a stream lead nowhere, so that Python ends without a complaint about what is still to be written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def print_json(content: Any) -> None:
    """Print one JSON object; what a terminal would obey is escaped, which means the same in JSON."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    print(re.sub(r"[^ -~]", _escaped, text), flush=True)  # noqa: T201


def say_address(as_json: bool, note: str = "Ctrl-C ends it") -> Callable[[str], None]:
    """Return what prints the address of a page as soon as it is served, with a note, or as JSON."""

    def started(url: str) -> None:
        if as_json:
            print_json({"url": url})
        else:
            say(f"{url}  ({note})")

    return started


def _escaped(found: re.Match[str]) -> str:
    return found[0] if printable(found[0]) == found[0] else json.dumps(found[0])[1:-1]


def print_rich(renderable: Any) -> None:
    """Print tables."""
    from kilnet.terminal.console import TerminalConsole

    TerminalConsole().print(renderable)
