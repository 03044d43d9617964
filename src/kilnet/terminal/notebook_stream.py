"""Progress in a notebook: one block of text that grows, instead of an output for every line."""

from html import escape
from typing import Any

# Some pages to which a notebook is exported give `pre` another font, in which columns do not stand below each other.
_STYLE = "font-family:monospace;line-height:1.3;overflow-x:auto;white-space:pre"


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
        """Show everything that has been written; nothing where nothing was."""
        if not self._text:
            return
        from IPython import display  # only where there is a notebook

        shown = display.HTML(  # type: ignore[no-untyped-call]
            f'<pre style="{_STYLE}">{escape(self._text)}</pre>'
        )
        if self._handle is None:
            self._handle = display.display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown)

    def isatty(self) -> bool:
        """Return False: there is no cursor to move."""
        return False
