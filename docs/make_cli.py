"""Writes docs/cli.md from what `--help` says: `make docs`.

It walks the commands instead of copying the terminal's output, whose boxes change with width and versions.
"""

from pathlib import Path
from typing import Any

import typer.main

from kilnet.cli import app

PAGE = Path(__file__).with_name("cli.md")
_HEAD = """\
# Command line

*Made by `make docs` from what `--help` says; changes made here are lost.*

Results go to standard output, progress to standard error; `--json` prints one JSON object and nothing else.

Exit codes:

* **0**: done.
* **1**: failed. For example, another process writes the run folder, a download fails, the disk is full, the loss
  diverges, the port is in use, or an export does not answer as Kilnet does. `kilnet doctor` found a problem.
  `kilnet predict` met files that it could not use.
* **2**: bad input: a setting, data, a network or a run folder.
* **130**: interrupted, by Ctrl-C or SIGTERM; the state is saved.
"""


def page() -> str:
    """Return docs/cli.md: one section per command."""
    program: Any = typer.main.get_command(app)
    sections = [_section(name, program.commands[name]) for name in program.commands]
    return "\n".join([_HEAD, *sections])


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(["kilnet", name, *(p.metavar for p in arguments), "[OPTIONS]"])
    rows = [(p.metavar, p.help) for p in arguments] + [(_words(p), p.help) for p in options]
    table = "".join(f"| `{word}` | {_cell(text)} |\n" for word, text in rows)
    return f"## kilnet {name}\n\n{command.help}\n\n```\n{usage}\n```\n\n| | |\n|---|---|\n{table}"


def _words(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ", ".join(option.opts) + value


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
