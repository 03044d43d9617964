"""Many runs as lines of a terminal."""

import io
import re
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.runs.listing import ListedRun
from kilnet.terminal.runs_table import runs_table, summary

FULL = {
    "status": "finished",
    "modified": "2026-11-26 20:22:01+00:00",
    "model": "EfficientNetLite",
    "data": "photographs of 猫 and dogs",
    "accuracy": 0.91234,
    "num_validation": 1000,
    "num_validation_correct": 912,
    "test.accuracy": 0.9,
    "epochs": 12,
    "seconds": 4000.0,
    "optimizer.lr": 0.00123456,
}
RUNS = (
    ListedRun(path=Path("runs") / "a_long_name_of_a_run_that_somebody_gave_it_7", kind="run", values=FULL),
    ListedRun(path=Path("searches/s"), kind="search", values={**FULL, "interval": [0.1, 0.2]}),
    ListedRun(
        path=Path("runs/bad"), kind="run", values={"status": "damaged", "modified": "1970-01-01 00:00:00"}
    ),
)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_one_line_for_each_run_and_no_number_is_broken(width):
    console = Console(file=io.StringIO(), width=width)
    console.print(runs_table(RUNS, ["optimizer.lr", "accuracy"]))
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert len(lines) == 2 + len(RUNS)
    assert "91.23%" in lines[2]
    assert "0.001235" in lines[2]
    assert "_7" in lines[2]
    assert "searches/s/" in lines[3]
    assert "damaged" in lines[4]
    if width >= 120:
        assert re.search(r"89\.3–92\.8", lines[2])
        assert "10.0–20.0" in lines[3]
    if width == 200:
        assert "2026-11-26 20:22" in lines[2]
        assert "EfficientNetLite" in lines[2]
        assert "1 h 6 min" in lines[2]


def test_the_summary_counts():
    assert summary(RUNS) == "2 runs and 1 search, 1 damaged"
    assert summary(RUNS[:1]) == "1 run"
    assert summary(RUNS[1:2]) == "1 search"
    assert "torch" in sys.modules or summary(()) == "0 runs"
