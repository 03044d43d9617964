"""What the command line writes."""

import io
import sys
import time

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


def test_what_loads_slowly_is_told(monkeypatch, capsys):
    monkeypatch.setattr(output, "_SECONDS_OF_SILENCE", 0.01)
    with output.told_if_slow("loading ...", quiet=False):
        time.sleep(1)
    assert capsys.readouterr() == ("", "loading ...\n")
    with output.told_if_slow("loading ...", quiet=True):
        time.sleep(0.1)
    monkeypatch.setattr(output, "_SECONDS_OF_SILENCE", 60)
    with output.told_if_slow("loading ...", quiet=False):
        pass
    assert capsys.readouterr() == ("", "")
