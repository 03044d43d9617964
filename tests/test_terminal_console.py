"""Names from outside on a terminal: shown, never obeyed."""

import io
import re
import sys

import pytest
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

import kilnet
from kilnet.terminal.console import TerminalConsole
from kilnet.terminal.progress import ProgressDisplay

ODD = "\x1b]0;title\x1b[2J\x9b31m\u202e[red]x[/] [/] :smile:\nkilnet: all is well\udcff"
SHOWN = "�]0;title�[2J�31m�[red]x[/] [/] :smile: kilnet: all is well�"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    """Return a terminal without colours, from now on standard output and standard error."""
    stream = Terminal()
    for name, value in {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", stream)  # not by a fixture, after which pytest sets its own again
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def tables():
    table = Table(ODD, title=ODD, caption=ODD)
    table.add_row(ODD)
    table.add_row(Text(ODD))
    return table


@pytest.mark.parametrize(
    "what", [ODD, Text(ODD), tables(), Group(ODD, Text(ODD))], ids=["str", "text", "table", "group"]
)
def test_whatever_is_printed_is_shown_as_it_stands(monkeypatch, what):
    written = terminal(monkeypatch)
    TerminalConsole().print(what)
    lines = written.getvalue().splitlines()
    assert any(SHOWN in line for line in lines)
    assert set(re.sub(r"\x1b\[[\d;]*m", "", written.getvalue())).isdisjoint("\x1b\x9b\u202e\udcff")
    assert "\x1b[31m" not in written.getvalue(), "italics are the table's own, red is not"
    assert not any(line.startswith("kilnet") for line in lines)


def test_lines_and_bars_of_progress_are_shown_as_they_stand(monkeypatch):
    stream = terminal(monkeypatch)
    with ProgressDisplay() as display:
        display.say(ODD)
        display.warn([ODD])
        display.advance(ODD, 1, 2)
    written = stream.getvalue()
    assert f"{SHOWN}\n" in written
    assert f"warning: {SHOWN}\n" in written
    assert all(name not in written for name in ("\x1b]0", "\x1b[2J", "\x9b", "\u202e"))


def test_a_live_table_is_shown_as_it_stands(monkeypatch):
    stream = terminal(monkeypatch)
    with Live(console=TerminalConsole(stderr=True), auto_refresh=False) as live:
        live.update(tables(), refresh=True)
    assert SHOWN in stream.getvalue()
    assert "\x1b]0" not in stream.getvalue()


def test_a_line_has_an_end(monkeypatch):
    stream = terminal(monkeypatch)
    with ProgressDisplay() as display:
        display.say("x" * 100_000)
    assert len(stream.getvalue()) < 6_000


def test_progress_that_nobody_reads_stops_nothing(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

        def flush(self):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stderr", Gone())
    with ProgressDisplay() as display:
        display.say("read by nobody")
    monkeypatch.setattr(sys, "stdout", Gone())
    inventory = kilnet.inspect_data("digits")
    with pytest.raises(BrokenPipeError):
        kilnet.show(inventory)


def test_what_is_enabled_is_shown(monkeypatch):
    stream = terminal(monkeypatch)
    with ProgressDisplay(enabled=False) as display:
        display.say("nothing")
    assert stream.getvalue() == ""
