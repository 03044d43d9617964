"""Writes docs/architecture.md from the docstrings of the modules, folder by folder: `make docs`."""

import ast
from pathlib import Path

PAGE = Path(__file__).with_name("architecture.md")
PACKAGE = Path(__file__).parents[1] / "src" / "kilnet"
# From the ground up, as tests/test_import_order.py checks them.
ROOMS = (
    *(
        "metrics",
        "recipes",
        "data",
        "models",
        "inference",
        "training",
        "runs",
        "tuning",
        "inspection",
        "exporting",
    ),
    *("server", "terminal", "figures", "page", "verbs", "plots", "cli"),
)
_HEAD = """\
# Architecture

*Made by `make docs` from the docstrings of the modules; changes made here are lost.*

A folder imports only from folders above it in this list; `tests/test_import_order.py` checks that, and refuses cycles.
The training loop is an iterator of records: whoever iterates prints, saves, prunes or stops. There are no callbacks.
"""


def page() -> str:
    """Return the page: the layers, then the files of each of them."""
    folders = [PACKAGE / room for room in ROOMS]
    layers = "\n".join(
        [
            "src/kilnet/",
            *(f"  {path.name:<14}{_says(path)}" for path in _files(PACKAGE)),
            *(f"  {folder.name + '/':<14}{_says(folder / '__init__.py')}" for folder in folders),
        ]
    )
    sections = [_section(below) for folder in folders for below in [folder, *_folders(folder)]]
    return "\n".join([_HEAD, f"```\n{layers}\n```\n", *sections])


def _section(folder: Path) -> str:
    rows = "".join(
        f"| `{path.name}` | {_says(path).replace('|', chr(92) + '|')} |\n" for path in _files(folder)
    )
    if not rows:
        return ""
    title = f"{folder.relative_to(PACKAGE).as_posix()}/"
    return f"## {title}\n\n{_says(folder / '__init__.py')}.\n\n| | |\n|---|---|\n{rows}"


def _folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/__init__.py"))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name[0] != "_")


def _says(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
