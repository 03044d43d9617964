"""An evaluation on eighty columns."""

import io

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.metrics.classification import Evaluation
from kilnet.terminal import tables
from made_up_evaluations import NASTY, evaluate


def print_plain(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "classes",
    [("cat", "dog"), tuple("0123456789"), NASTY, tuple(f"class {i}" for i in range(12)), NASTY * 10],
    ids=["2", "digits", "nasty", "12", "100"],
)
@pytest.mark.parametrize("num_images", [600, 120_000])
def test_the_report_fits_80_columns_and_cuts_no_number(classes, num_images):
    evaluation = evaluate(classes, num_images)
    lines = print_plain(tables.evaluation_tables(evaluation)).splitlines()
    assert max(cell_len(line) for line in lines) <= 80
    for line in lines:
        words = line.split()
        assert not any(word.endswith("…") and word[0].isdigit() for word in words[-4:])
    assert not any("\x1b" in line or "\x07" in line or "\u202e" in line for line in lines)


def test_the_summary_carries_the_interval():
    confusion = np.array([[3600, 1400], [1410, 3590]], np.int64)
    truth, predicted = (np.repeat(part, confusion.ravel()) for part in np.indices((2, 2)).reshape(2, 4))
    text = print_plain(
        tables.summary_table(Evaluation.from_logits("test", ("a", "b"), np.eye(2)[predicted], truth))
    )
    assert "71.9% (71.0–72.8, 95% Wilson, n=10,000)" in text


def test_each_class_has_its_scores():
    evaluation = evaluate(("[red]cat", "dog", "eel"))
    rows = {
        line.split()[0]: line.split()[1:]
        for line in print_plain(tables.per_class_table(evaluation)).splitlines()
    }
    assert rows["[red]cat"] == [
        f"{evaluation.recall[0]:.1%}",
        f"{evaluation.precision[0]:.1%}",
        f"{evaluation.f1[0]:.1%}",
        str(evaluation.support[0]),
    ]
    assert rows["eel"][0] == "–"


@pytest.mark.parametrize(
    ("classes", "heads"),
    [
        (tuple("0123456789"), list("0123456789")),
        (tuple(f"class {i}" for i in range(12)), list("ABCDEFGHIJKL")),
    ],
)
def test_the_confusion_table_holds_every_count(classes, heads):
    evaluation = evaluate(classes)
    _, head, _, *lines = print_plain(tables.confusion_table(evaluation)).splitlines()
    assert head.removeprefix("truth").split() == heads
    counts = [[int(word.replace(".", "0")) for word in line.split()[-len(classes) :]] for line in lines]
    assert counts == evaluation.confusion.tolist()


def test_too_many_classes_have_no_confusion_table():
    assert tables.confusion_table(evaluate(tuple(f"class {i}" for i in range(13)))) is None


def test_of_many_classes_the_worst_come_first():
    classes = tuple(f"class {i}" for i in range(121))
    evaluation = evaluate(classes, 3000)
    text = print_plain(tables.per_class_table(evaluation))
    rows = [line for line in text.splitlines() if line.startswith("class ") and "%" in line]
    worst = sorted(evaluation.recall[evaluation.support > 0])[:20]
    assert [row.split()[2] for row in rows] == [f"{recall:.1%}" for recall in worst]
    assert "Worst classes, lowest recall first" in text
    assert "and 101 better classes" in text
    few = print_plain(tables.per_class_table(evaluate(classes[:30])))
    assert [line.split()[1] for line in few.splitlines()[3:]] == [str(i) for i in range(30)]


def test_the_commonest_mistakes_come_first():
    evaluation = evaluate(("cat", "dog", "eel"))
    truth, predicted, count = evaluation.most_confused(1)[0]
    line = print_plain(tables.most_confused_table(evaluation, k=1)).splitlines()[-1]
    share = count / evaluation.support[evaluation.classes.index(truth)]
    assert line.split() == [truth, predicted, str(count), f"{share:.1%}"]


def test_an_empty_split_can_be_reported():
    empty = Evaluation.from_logits("test", ("a", "b"), np.zeros((0, 2)), np.zeros(0, np.int64))
    assert "–" in print_plain(tables.evaluation_tables(empty))
