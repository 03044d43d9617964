"""Writes docs/architecture.md: every module with the first line of its docstring, and the layers: `make docs`."""

import ast
from pathlib import Path

PAGE = Path(__file__).with_name("architecture.md")
PACKAGE = Path(__file__).parents[1] / "src" / "kilnet"
# From the ground up, as tests/test_import_order.py checks them.
ROOMS = (
    *("recipes", "data", "models", "inference", "training", "runs", "tuning", "inspection", "exporting"),
    *("server", "terminal", "figures", "page", "verbs", "plots", "cli"),
)
_HEAD = """\
# Architecture

*Made by `make docs` from the docstrings of the modules; changes made here are lost.*

A folder imports only from folders above it in this list; `tests/test_import_order.py` checks that, and refuses cycles.
The training loop is an iterator of records: whoever iterates prints, saves, prunes or stops. There are no callbacks.
"""


def page() -> str:
    """Return the page: the files at the top level, then each folder from the ground up."""
    top = sorted(path for path in PACKAGE.glob("*.py") if path.name[0] != "_")
    lines = ["src/kilnet/", *(_line(path, 1) for path in top)]
    for room in ROOMS:
        lines += _folder(PACKAGE / room, 1)
    tree = "\n".join(lines)
    return f"{_HEAD}\n```\n{tree}\n```\n"


def _folder(folder: Path, depth: int) -> list[str]:
    if not folder.is_dir():
        return []
    lines = [f"{'  ' * depth}{folder.name + '/':<{30 - 2 * depth}}{_says(folder / '__init__.py')}"]
    lines += [_line(path, depth + 1) for path in sorted(folder.glob("*.py")) if path.name[0] != "_"]
    for below in sorted(path.parent for path in folder.glob("*/__init__.py")):
        lines += _folder(below, depth + 1)
    return lines


def _line(path: Path, depth: int) -> str:
    return f"{'  ' * depth}{path.name:<{30 - 2 * depth}}{_says(path)}"


def _says(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
