"""The one way from the library to a terminal: what is printed is shown, never obeyed."""

from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from kilnet.runs.wording import MAX_CHARACTERS, in_ascii, printable, speaks_ascii
from kilnet.terminal.notebook_stream import NotebookStream


class TerminalConsole(Console):
    """A console on which no text is markup, and no name from outside can control the terminal.

    Args:
        stderr: write on standard error, where a reader that leaves stops nothing; else on standard output.
        quiet: write nothing.
    """

    def __init__(self, stderr: bool = False, quiet: bool = False) -> None:
        options: dict[str, Any] = {"stderr": stderr, "quiet": quiet, "markup": False, "emoji": False}
        super().__init__(**options, highlight=False)
        if self.is_jupyter and stderr and not quiet:  # Rich would make an output of every line
            # Jupyter sets FORCE_COLOR, but this stream shows no colours and moves no cursor.
            options |= {"force_jupyter": False, "force_terminal": False, "color_system": None}
            stream = cast("IO[str]", NotebookStream())
            super().__init__(**options, highlight=False, width=self.width, file=stream)

    @property
    def file(self) -> IO[str]:
        """Where it writes."""
        stream = cast("IO[str]", _Unheard(super().file)) if self.stderr else super().file
        return cast("IO[str]", _Plain(stream)) if speaks_ascii() else stream

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render text as `printable` has it; tables and the like come here for each of their cells."""
        if isinstance(renderable, Text) and not _is_fit(renderable.plain):
            renderable = renderable.copy()
            renderable.plain = printable(renderable.plain)
        return super().render(renderable, options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into text."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Leave the error to the caller, whose work it may not end."""
        raise  # it is called while the error is handled


class _Unheard:
    """A stream that nobody need hear: what cannot be written is lost."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # full or gone; closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Plain:
    """A stream that gets ASCII alone."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(in_ascii(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_fit(text: str) -> bool:
    return text.isprintable() and len(text) <= MAX_CHARACTERS
