"""The one table: what it leaves out, what it shortens, and what it never touches."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from kilnet.terminal.fitted_table import Column, FittedTable, fitted

LONG = "a_very_long_name_of_a_class_that_nobody_should_have_given_0123456789"


def shown(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()


def example(name="cat"):
    table = FittedTable(
        "Runs",
        [
            Column("run", "path"),
            Column("accuracy"),
            Column("95% interval", rank=2),
            Column("loss", rank=1),
            Column("data", "name", rank=3),
        ],
    )
    table.add_row(f"runs/{name}", "91.25%", "90.1–92.2", "0.1234", name)
    table.add_row("runs/b", "9.00%", "8.1–10.2", "1.1234", "dog")
    return table


def test_columns_are_left_out_in_the_order_of_their_ranks():
    heads = {width: shown(example(), width)[1].split() for width in (60, 45, 36, 24)}
    assert heads[60] == ["run", "accuracy", "95%", "interval", "loss", "data"]
    assert heads[45] == ["run", "accuracy", "95%", "interval", "loss"]
    assert heads[36] == ["run", "accuracy", "loss"]
    assert heads[24] == ["run", "accuracy"]


@pytest.mark.parametrize("width", [20, 24, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", ["cat", LONG, "猫" * 50, "[bold]\x1b[31m\n"])
def test_it_fits_and_numbers_are_whole(width, name):
    lines = shown(example(name), width)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) == 5, "no row is broken"
    assert re.search(r"(^| )91\.25%( |$)", lines[3])
    assert "\x1b" not in "".join(lines)


def test_names_get_the_room_that_is_left():
    assert f"runs/{LONG}" in "\n".join(shown(example(LONG), 200))
    cut = shown(example(LONG), 60)[3]
    assert cut.startswith("…")
    assert "0123456789" in cut.split()[0], "the end of a path tells runs apart"


def test_a_column_that_has_nothing_to_show_is_left_out_unless_it_is_always_there():
    table = FittedTable("", [Column("a"), Column("b", rank=1), Column("c")])
    table.add_row("1", "", "")
    assert shown(table, 40)[0].split() == ["a", "c"]


def test_a_row_needs_a_cell_for_each_column():
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        FittedTable("", [Column("a"), Column("b")]).add_row("1")


def test_sections_styles_and_what_stands_instead():
    table = FittedTable("", [Column("n"), Column("m")], instead="too narrow")
    table.add_row("1", Text("2", "bold"))
    table.add_section()
    table.add_row("3", "4")
    assert [line.strip() for line in shown(table, 20)] == ["n  m", "────", "1  2", "────", "3  4"]
    table.add_row("5" * 30, "6")
    assert shown(table, 20) == ["too narrow"]


@pytest.mark.parametrize(
    ("text", "width", "result"),
    [
        ("short", 5, "short"),
        ("abcdefghij", 7, "abcd…ij"),
        ("猫猫猫猫猫", 8, "猫猫…猫"),
        ("two  \n lines", 20, "two lines"),
    ],
)
def test_names_lose_their_middle(text, width, result):
    assert fitted(text, width) == result
    assert cell_len(fitted(text, width)) <= width


def test_paths_lose_their_start():
    assert fitted("runs/digits/7", 9, at_start=True) == "…digits/7"
