"""Many runs ranked, on any terminal."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.inspection.comparison import PairedOutcome
from kilnet.terminal.ranking_table import ranking_tables
from made_up_evaluations import evaluate

NAMES = ("runs/" + "x" * 90 + "1", "runs/猫", "[bold]\x1b[31m")
AGAINST = [(PairedOutcome(500, 50, 30, 20), 0.2), (PairedOutcome(400, 150, 30, 20), 1e-12)]


def shown(width, settings, against=AGAINST):
    console = Console(file=io.StringIO(), width=width)
    evaluations = [evaluate(("a", "b", "c"))] * 3
    console.print(ranking_tables(NAMES, "validation", settings, evaluations, against, 3))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_and_says_what_is_not_clearly_worse(width):
    settings = {
        "optimizer.lr": (0.1, 0.2, None),
        "model.name": ("FastNet", "ResNet", "x" * 50),
        "seed": (0, 1, 2),
    }
    text = shown(width, settings)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "1 run is not clearly worse than the first" in text
    ranked = text[text.index("Accuracy, validation") :].splitlines()[3:6]
    assert [line.split()[0] for line in ranked[:2]] == ["*", "="]
    assert ranked[2].rstrip().endswith("1e-12")
    assert "3.33" in ranked[1]
    if width >= 120:
        low, high = AGAINST[0][0].interval
        assert f"{-100 * high:.2f} to {-100 * low:.2f}" in ranked[1]


def test_equal_settings_and_a_clear_winner():
    text = shown(80, {}, [(outcome, 0.01) for outcome, _ in AGAINST])
    assert text.startswith("The runs have the same settings.")
    assert "the first is clearly the best" in text
