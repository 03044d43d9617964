"""Progress in a notebook: one block of text that grows, instead of an output for every line."""

from html import escape
from typing import Any


class NotebookStream:
    """A text stream that shows what is written to it as one output of the cell.

    Outside a notebook nothing may be written to it.
    """

    def __init__(self) -> None:
        self._text = ""
        self._handle: Any = None

    def write(self, text: str) -> int:
        """Add text; it is shown with the next `flush`."""
        self._text += text
        return len(text)

    def flush(self) -> None:
        """Show everything that has been written."""
        from IPython import display  # only where there is a notebook

        shown = display.HTML(  # type: ignore[no-untyped-call]
            f'<pre style="line-height:1.3;overflow-x:auto;white-space:pre">{escape(self._text)}</pre>'
        )
        if self._handle is None:
            self._handle = display.display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown)

    def isatty(self) -> bool:
        """Return False: there is no cursor to move."""
        return False
