"""Predictions as a table, as CSV and as JSON: all say the same."""

import csv
import io
import json
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.inference.classifier import Prediction
from kilnet.storage import write_rows
from kilnet.terminal import prediction_tables as tables

CLASSES = ("dog, small", "cat", '"frog"')


def prediction(name="a.png", unsure=False, probabilities=(0.7, 0.2, 0.1), unknown=False):
    return Prediction(name=name, classes=CLASSES, probabilities=probabilities, unsure=unsure, unknown=unknown)


PREDICTIONS = [
    prediction(),
    prediction("deep/b, c.png", unsure=True, probabilities=(0.4, 0.35, 0.25)),
]


@pytest.mark.parametrize("top", [1, 2, 3])
@pytest.mark.parametrize("mark_unsure", [False, True])
def test_csv_and_json_say_the_same(top, mark_unsure):
    predictions = [*PREDICTIONS, prediction("odd.png", unknown=True)]
    file = io.StringIO(newline="")
    write_rows(file, tables.csv_rows(predictions, top, mark_unsure, mark_unknown=True))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert file.getvalue().count("\r\n") == 4
    for row, found in zip(rows, predictions, strict=True):
        told = json.loads(json.dumps(tables.as_dict(found, top, mark_unsure)))
        assert row["file"] == told["file"] == found.name
        assert len(told["classes"]) == top
        for rank, entry in enumerate(told["classes"], 1):
            assert row[f"class_{rank}"] == entry["class"] == CLASSES[rank - 1]
            assert float(row[f"probability_{rank}"]) == entry["probability"] == found.probabilities[rank - 1]
        assert told["unknown"] == (row["unknown"] == "unknown") == found.unknown
        assert ("unsure" in told, "unsure" in row) == (mark_unsure, mark_unsure)
        if mark_unsure:
            assert told["unsure"] == (row["unsure"] == "unsure") == found.unsure


def test_rows_are_written_as_soon_as_they_are_known():
    file = io.StringIO()

    def slowly():
        for number, found in enumerate(PREDICTIONS, 1):
            assert file.getvalue().count("\n") == number
            yield found

    write_rows(file, tables.csv_rows(slowly(), 1, mark_unsure=False, mark_unknown=False))
    assert file.getvalue().count("\n") == 3


def test_the_table_has_the_next_classes_and_a_mark_and_fits():
    long = "folder/" * 20 + "[bold]\x1b[31mend.png"
    console = Console(file=io.StringIO(), width=80)
    console.print(tables.table([*PREDICTIONS, prediction(long)], 2, True))
    text = console.file.getvalue()
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "70.0%" in lines["a.png"]
    assert re.search(r"cat +20\.0%", lines["a.png"])
    assert "unsure" not in lines["a.png"]
    assert "unsure" in lines["deep/b,"]
    (cut,) = (line for line in text.splitlines() if "end.png" in line)
    assert cut.split()[0].startswith("…"), "the end of a path tells files apart"
