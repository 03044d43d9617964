"""Two runs beside each other on eighty columns."""

import io
import re

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.inspection.comparison import Disagreement, PairedOutcome
from kilnet.metrics.classification import Evaluation
from kilnet.terminal.comparison_tables import MAX_LINES, comparison_tables


def disagreement(number, first="cat", second="dog", truth="cat"):
    image = np.zeros((3, 2, 2), np.uint8)
    return Disagreement(image=image, name=f"{number}.png", truth=truth, first=first, second=second)


def counted(num_alone, outcome, classes=("cat", "dog")):
    """All images are cats; the wrong ones are taken for dogs."""
    num_right = outcome.num_both + num_alone
    logits = np.repeat([[1.0, 0.0], [0.0, 1.0]], [num_right, outcome.num_images - num_right], axis=0)
    return Evaluation.from_logits("validation", classes, logits, np.zeros(outcome.num_images, np.int64))


def shown(outcome, disagreements=(), differences=(), names=("runs/one", "runs/two")):
    console = Console(file=io.StringIO(), width=80)
    evaluations = counted(outcome.num_first, outcome), counted(outcome.num_second, outcome)
    console.print(comparison_tables(names, evaluations, differences, outcome, disagreements))
    return console.file.getvalue()


def test_accuracies_and_their_difference_are_those_of_the_counts():
    text = " ".join(shown(PairedOutcome(60, 10, 25, 5)).split())
    assert "runs/one 70 70.00%" in text
    assert "runs/two 85 85.00%" in text
    assert "difference +15.00 points" in text
    assert "p = 0.017 (exact McNemar)" in text
    assert "noise" not in text
    assert "100 images: both right 60, only the first 10, only the second 25, neither 5" in text
    assert "they differ on 35.0%" in text
    assert "within the noise: this may be chance" in " ".join(shown(PairedOutcome(60, 10, 12, 18)).split())


def test_what_accuracy_hides_stands_below_it():
    text = " ".join(shown(PairedOutcome(99, 1, 0, 0)).split())
    assert "runs/one 100 100.00%" in text
    assert "macro recall" in text
    assert "96.3–100.0 50.00%" in text  # no dog has been seen, and that counts as 0
    assert "runs/one: 1 class without images: recall counts as 0 (dog)" in text


def test_images_stand_under_the_run_that_is_right_with_what_the_other_says():
    found = [disagreement(1), disagreement(2, "dog", "cat"), disagreement(3, "frog", "cat")]
    text = shown(PairedOutcome(10, 1, 2, 0), found)
    first, second = text[text.index("Only runs/one") :].split("Only runs/two")
    assert re.search(r"1\.png\s+cat\s+dog", first)
    assert "2.png" not in first
    assert re.search(r"2\.png\s+cat\s+dog", second)
    assert re.search(r"3\.png\s+cat\s+frog", second)


def test_long_lists_are_cut_and_say_so():
    text = shown(PairedOutcome(10, MAX_LINES + 2, 0, 0), [disagreement(n) for n in range(MAX_LINES + 2)])
    assert f"{MAX_LINES - 1}.png" in text
    assert f"{MAX_LINES}.png" not in text
    assert "and 2 more: the JSON lists all" in text
    assert "more" not in shown(
        PairedOutcome(10, MAX_LINES, 0, 0), [disagreement(n) for n in range(MAX_LINES)]
    )


@pytest.mark.parametrize("differences", [(), ("optimizer.lr: 0.1 -> 0.2", "a" * 200)])
def test_settings_that_differ_and_nasty_names_fit(differences):
    names = ("runs/" + "x" * 90, "[bold]\x1b[31m猫")
    text = shown(PairedOutcome(5, 1, 1, 1), [disagreement("猫" * 60)], differences, names)
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "[bold]" in text
    assert ("  none" in text) == (not differences)
    assert "".join(text.split()).count("a" * 200) == len(differences) // 2
