"""Writes docs/tutorial.md from notebooks/tutorial.ipynb: `make docs`.

    python docs/make_tutorial.py               text and code alone
    python docs/make_tutorial.py --run FOLDER  runs the notebook in a folder first, or resumes there, and keeps what its
                                               cells print and draw

What a cell printed is kept in tutorial-printed.json, what it drew in images/tutorial-ID.png, where ID is the cell's. A
cell that draws has `alt` in its metadata, a text that stands for the picture. A cell with the tag `hide-output` prints
lines that are not worth keeping.
"""

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image
from rich.text import Text

FOLDER = Path(__file__).parent
NOTEBOOK = FOLDER.parent / "notebooks" / "tutorial.ipynb"
PAGE = FOLDER / "tutorial.md"
PRINTED = FOLDER / "tutorial-printed.json"
_HEAD = """\
*Made by `make docs` from [the notebook](../notebooks/tutorial.ipynb); changes made here are lost.*
"""


def page() -> str:
    """Return docs/tutorial.md: the notebook's cells, with what they print and draw."""
    printed = json.loads(PRINTED.read_text(encoding="utf-8"))
    first, *rest = nbformat.read(NOTEBOOK, as_version=4).cells
    title, _, introduction = first.source.partition("\n")
    parts = [title, _HEAD.rstrip(), introduction.strip()]
    for cell in rest:
        if cell.cell_type == "markdown":
            parts.append(cell.source.replace("](../docs/", "]("))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        if cell.id in printed:
            parts.append(f"```text\n{printed[cell.id]}\n```")
        if "alt" in cell.metadata:
            parts.append(f"![{cell.metadata.alt}]({picture(cell.id).relative_to(FOLDER).as_posix()})")
    return "\n\n".join(parts) + "\n"


def run(folder: Path, **parameters: Any) -> Any:
    """Run the notebook in a folder, with other values for the names in its cell of parameters; return it with outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(given, id="given"))
    return NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(folder)}}).execute()


def picture(cell_id: str) -> Path:
    """Return where the picture of a cell lies."""
    return FOLDER / "images" / f"tutorial-{cell_id}.png"


def pictures_of(cell: Any) -> list[bytes]:
    """Return the PNGs that a cell has drawn."""
    bundles = [output.get("data", {}) for output in cell.get("outputs", ())]
    return [base64.b64decode(bundle["image/png"]) for bundle in bundles if "image/png" in bundle]


def text_of(cell: Any) -> str:
    """Return what a cell has printed, without colours and without the names of figures."""
    texts = []
    for output in cell.get("outputs", ()):
        bundle = output.get("data", {})
        if output.output_type == "stream" and output.name == "stdout":
            texts.append(output.text)
        elif "image/png" not in bundle and not _is_progress(bundle):
            texts.append(bundle.get("text/plain", ""))
    lines = Text.from_ansi("".join(texts)).plain.splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _is_progress(bundle: Any) -> bool:
    """Whether an output is one that grew while a cell ran, which has no text of its own."""
    return "text/html" in bundle and bundle.get("text/plain", "").startswith("<IPython.")


def keep(notebook: Any, folder: Path) -> None:
    """Write what the cells have printed and drawn where the page finds it; paths begin at the folder it was run in."""
    printed = {}
    for cell in notebook.cells:
        if "hide-output" not in cell.metadata.get("tags", ()) and (text := text_of(cell)):
            printed[cell.id] = text.replace(f"{folder.resolve()}/", "")
        for content in pictures_of(cell):
            colours = Image.open(io.BytesIO(content)).convert("RGB").quantize(256)  # a third of the bytes
            colours.save(picture(cell.id), optimize=True)
    PRINTED.write_text(json.dumps(printed, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        place = Path(sys.argv[2])
        keep(run(place), place)
    PAGE.write_text(page(), encoding="utf-8")
