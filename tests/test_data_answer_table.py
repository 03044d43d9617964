"""A table of answers, which is whole after each of them and may be edited meanwhile."""

import pytest

from corrections_tables import write
from kilnet.data.answer_table import AnswerTable, counted
from kilnet.data.corrections import read_corrections
from kilnet.errors import DataError


def row(name, verdict="wrong", correction="dog", **more):
    return {"file": name, "label": "cat", "verdict": verdict, "correction": correction, **more}


def test_answers_are_kept_in_their_order_and_can_be_read_as_corrections(tmp_path):
    table = AnswerTable(tmp_path / "c.csv")
    assert not table.path.exists()
    assert table.put(row("=a.png", network_says="dog")) is None
    table.put(row("b, \udcff.png", "remove", ""))
    before = table.put(row("=a.png", "right", ""))
    assert before["correction"] == "dog"
    assert list(table.rows()) == ["b, \udcff.png", "=a.png"]
    found = read_corrections(table.path).rows
    assert [(one.name, one.verdict) for one in found.values()] == [
        ("b, \udcff.png", "remove"),
        ("=a.png", "right"),
    ]
    table.take_back("=a.png", before)
    assert table.rows()["=a.png"]["correction"] == "dog"
    table.take_back("=a.png", None)
    assert list(table.rows()) == ["b, \udcff.png"]
    assert counted(table.rows()) == {"remove": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c.csv"]


def test_what_a_person_edits_stays(tmp_path):
    table = AnswerTable(tmp_path / "c.csv")
    table.put(row("a.png"))
    text = table.path.read_text("utf-8").replace("\n", ",note\n", 1).replace("a.png", "z.png")
    table.path.write_text(
        "".join(line if i == 0 else line[:-1] + ",mine\n" for i, line in enumerate(text.splitlines(True)))
    )
    table.put(row("b.png"))
    assert table.rows()["z.png"]["note"] == "mine"
    assert table.rows()["b.png"]["note"] == ""


def test_a_table_begins_with_earlier_answers(tmp_path):
    table = AnswerTable(tmp_path / "c.csv", [row("a.png")])
    assert list(table.rows()) == ["a.png"]
    assert not table.path.exists()
    table.put(row("b.png"))
    assert list(AnswerTable(table.path).rows()) == ["a.png", "b.png"]


def test_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "c.csv").write_text("name,age\nx,3\n")
    with pytest.raises(DataError, match="it needs one column file"):
        AnswerTable(tmp_path / "c.csv")
    (tmp_path / "c.csv").write_bytes(b"\x80\x81")
    with pytest.raises(DataError, match="choose another `out`"):
        AnswerTable(tmp_path / "c.csv")
    table = AnswerTable(write(tmp_path / "d.csv"))
    table.path.write_text("broken\n")
    with pytest.raises(DataError):
        table.put(row("a.png"))
    assert table.path.read_text() == "broken\n"
