"""The inside of a network on eighty columns."""

import io

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.inspection.label_errors import SuspectedLabel, WrongShare
from kilnet.inspection.layer_table import LayerRow
from kilnet.terminal import inspection_tables as tables


def lines_of(renderable):
    console = Console(file=io.StringIO(), width=80)
    console.print(renderable)
    return console.file.getvalue().splitlines()


SHARES = {
    "train": WrongShare(share=0.178, low=0.17, high=0.186, at_random=0.009),
    "validation": WrongShare(share=0.05, low=0.04, high=0.06, at_random=0.05),
}


def test_the_share_of_wrong_labels_says_what_it_supposes():
    for suspects in ([], [suspect(1)]):
        text = " ".join(lines_of(tables.suspected_labels_tables(suspects, 1000, SHARES)))
        words = " ".join(text.split())
        assert "train: an estimated 17.8% (17.0% to 18.6%) of the labels contradict" in words
        assert "0.9% if people only err at random" in words
        assert "validation: an estimated 5.0% (4.0% to 6.0%) of the labels are wrong" in words


def layer(name, parameters, multiply_adds, milliseconds, kind="Conv2d"):
    return LayerRow(
        name=name,
        kind=kind,
        input_shape=(3, 32, 32),
        output_shape=(48, 30, 30),
        num_parameters=parameters,
        num_multiply_adds=multiply_adds,
        milliseconds=milliseconds,
    )


def suspect(number, name="cat.png"):
    return SuspectedLabel(
        image=np.zeros((3, 2, 2), np.uint8),
        split="train",
        name=f"{number}-{name}",
        label="cat",
        suggested="dog",
        suspicion=0.75,
        confidence=0.923,
    )


def test_layers_have_their_costs_and_the_last_row_adds_them_up():
    rows = [layer("conv1", 1344, 1_166_400, 1.25), layer("conv2", 20_784, 4_200_000_000, 2.5)]
    rows.append(layer("", 0, 0, 0.125, kind="ConvNet"))
    text = lines_of(tables.layers_table(rows))
    cells = {line.split()[0]: line.split()[1:] for line in text if line.split()}
    assert cells["conv1"] == ["Conv2d", "3×32×32", "48×30×30", "1,344", "1.2M", "1.25"]
    assert cells["conv2"][-3:] == ["20,784", "4.2G", "2.50"]
    assert cells["between"][-1] == "0.12"
    assert cells["total"] == ["22,128", "4.2G", "3.88"]


def test_of_many_layers_the_slowest_are_shown_and_all_are_added_up():
    rows = [layer(f"layer-{number}", 10, 0, number) for number in range(150)]
    text = lines_of(tables.layers_table(rows))
    named = [line.split()[0] for line in text if line.startswith("layer-")]
    assert named == [f"layer-{number}" for number in range(149, 129, -1)]
    assert "and 130 quicker layers, in layers.csv" in [line.strip() for line in text]
    (total,) = (line.split() for line in text if line.startswith("total"))
    assert total == ["total", "1,500", f"{sum(range(150)):.2f}"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, ""), (999, "999"), (1000, "1.0k"), (12_345_678, "12.3M"), (2_000_000_000, "2.0G")],
)
def test_large_numbers_are_short(number, expected):
    text = lines_of(tables.layers_table([layer("only", 5, number, 1.0)]))
    row = next(line for line in text if line.split()[:1] == ["only"]).split()
    assert row[4:-1] == ["5", *([expected] if expected else [])]


def test_suspected_labels_are_listed_worst_first_and_long_lists_are_cut():
    text = "\n".join(lines_of(tables.suspected_labels_tables([suspect(n) for n in range(20)], 1000, SHARES)))
    assert "20 of 1,000 labels are suspected" in text
    assert "14-cat.png" in text
    assert "15-cat.png" not in text
    assert "and 5 more" in text
    assert "75.0%" in text
    assert "92.3%" in text
    none = lines_of(tables.suspected_labels_tables([], 1000, {}))
    assert [line.strip() for line in none] == ["0 of 1,000 labels are suspected"]


def test_duplicates_are_counted_by_kind_with_an_example():
    kinds = {"occur twice": [("a", "b"), ("c", "d", "e", "f")], "occur never": []}
    assert [line.strip() for line in lines_of(tables.duplicates_lines(kinds))] == [
        "2 pictures occur twice, such as a = b"
    ]
    assert [line.strip() for line in lines_of(tables.duplicates_lines({}))] == ["no duplicates"]


def test_everything_fits_and_nothing_is_interpreted():
    nasty = "[red]\x1b[31m" + "猫" * 50
    parts = (
        [layer(nasty, 10**9, 10**12, 1e4)],
        [suspect(0, nasty)],
        5,
        SHARES,
        {"occur twice": [(nasty, nasty)]},
    )
    text = lines_of(tables.inspection_tables(*parts))
    assert max(cell_len(line) for line in text) <= 80
    assert not any("\x1b" in line for line in text)
    assert any("[red]" in line for line in text)
