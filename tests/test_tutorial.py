"""The tutorial: every cell of the notebook runs, and its page says the same."""

import importlib.util
import json
import re
from io import BytesIO
from pathlib import Path

import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
MAX_PICTURE_BYTES = 150_000


@pytest.fixture(scope="module")
def tutorial():
    spec = importlib.util.spec_from_file_location("make_tutorial", ROOT / "docs" / "make_tutorial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notebook(tutorial):
    return nbformat.read(tutorial.NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def walk(tutorial, tmp_path_factory):
    """The notebook after a walk over the handwritten digits, and the folder in which it was run."""
    folder = tmp_path_factory.mktemp("walk")
    settings = {"device": "cpu", "threads": 1, "precision": "fp32", "layout": "contiguous"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(folder / "cache"))
        yield (
            tutorial.run(
                folder,
                DATA="digits",
                SETTINGS={
                    "data.num_train": 300,
                    **{f"hardware.{key}": value for key, value in settings.items()},
                },
                SPACE={"model.c1": [4], "model.c2": [6, 8], "model.l1": [16]},
                EPOCHS=2,
                FINETUNE_EPOCHS=2,
            ),
            folder / "tutorial",
        )


@pytest.mark.slow
def test_every_cell_runs_and_draws_what_it_promises(tutorial, walk):
    notebook, _ = walk
    for cell in notebook.cells:
        if cell.cell_type == "code":
            drawn = tutorial.pictures_of(cell)
            assert len(drawn) == ("alt" in cell.metadata), cell.id
            for content in drawn:
                assert min(Image.open(BytesIO(content)).size) > 200, cell.id


@pytest.mark.slow
def test_the_walk_leaves_what_the_text_says(walk):
    _, folder = walk
    finetuned = folder / "search" / "finetuned"
    assert {path.name for path in folder.iterdir()} == {"convnet", "search"}
    assert b"<html" in (finetuned / "report.html").read_bytes()
    read = {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("evaluation.json")}
    assert {name: list(splits) for name, splits in read.items()} == {
        "convnet": ["validation"],
        "finetuned": ["test"],
    }
    assert read["finetuned"]["test"]["num_reads"] == 1


def test_tables_are_kept_for_the_page_without_colours_and_progress_is_not(
    tutorial, walk, tmp_path, monkeypatch
):
    notebook, folder = walk
    monkeypatch.setattr(tutorial, "PRINTED", tmp_path / "printed.json")
    monkeypatch.setattr(tutorial, "picture", lambda cell_id: tmp_path / f"{cell_id}.png")
    tutorial.keep(notebook, folder.parent)
    printed = json.loads((tmp_path / "printed.json").read_text())
    assert list(printed) == ["data", "validation", "found", "compare", "test", "predict"]
    assert "\x1b" not in "".join(printed.values())
    assert "parent: None -> tutorial/search/finalists/" in printed["compare"]
    assert re.search(r"^total +300 +143 +359 +802$", printed["data"], re.MULTILINE)
    assert "best: trial" in printed["found"]
    assert re.fullmatch(r"(\d \d+%( unsure)?\n?){5}", printed["predict"])
    assert {path.stem for path in tmp_path.glob("*.png")} == {
        cell.id for cell in notebook.cells if "alt" in cell.metadata
    }


def test_the_notebook_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z-]+", cell.id)
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def test_the_page_is_what_make_docs_writes_and_its_pictures_are_small(tutorial, notebook):
    assert tutorial.PAGE.read_text(encoding="utf-8") == tutorial.page(), "out of date: make docs"
    drawn = {tutorial.picture(cell.id) for cell in notebook.cells if "alt" in cell.metadata}
    assert set((ROOT / "docs" / "images").glob("tutorial-*.png")) == drawn
    for path in drawn:
        assert path.stat().st_size < MAX_PICTURE_BYTES, path.name


def test_commands_beside_the_cells_have_their_values(notebook):
    names = {}
    exec(next(c.source for c in notebook.cells if c.id == "parameters"), names)  # noqa: S102
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown").replace(
        "\\\n", ""
    )
    given = {
        r"data\.num_train=(\d+)": names["SETTINGS"]["data.num_train"],
        r"^kilnet (?:train|tune) .*--epochs (\d+)": names["EPOCHS"],
        r"^kilnet finetune .*--epochs (\d+)": names["FINETUNE_EPOCHS"],
    }
    for pattern, value in given.items():
        assert set(re.findall(pattern, text, re.MULTILINE)) == {str(value)}, pattern
    for key, values in names["SPACE"].items():
        assert f"--space {key}={','.join(map(str, values))}" in text
    assert set(re.findall(r"^kilnet \w+ (cifar10|tutorial/[\w/-]+)", text, re.MULTILINE)) == {
        names["DATA"],
        *(f"{names['OUT']}/{name}" for name in ("convnet", "search", "search/finetuned")),
    }
