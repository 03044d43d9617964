"""What the command line writes."""

import io
import sys

import pytest

from kilnet.cli import output


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_gets_no_name_that_it_would_obey(is_terminal, monkeypatch):
    stream = io.StringIO(newline="")
    stream.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stdout", stream)
    output.print_rows([["file", "class"], ["\x1b[2J.png", 1]])
    name = "\ufffd[2J.png" if is_terminal else "\x1b[2J.png"
    assert stream.getvalue() == f"file,class\r\n{name},1\r\n"
