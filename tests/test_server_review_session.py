"""A review in progress: answers, undo, and what another process finds later."""

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.data.answer_table import AnswerTable
from kilnet.data.corrections import read_corrections
from kilnet.errors import InputError
from kilnet.server.review_session import ReviewSession
from made_up_review import CLASSES, item


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c.csv"


def session_of(path, items=None, **options):
    items = items or [item("a"), item("b", "frog", 0.5), item("c", "frog", 0.7)]
    return ReviewSession(CLASSES, items, AnswerTable(path), **options)


def verdicts(path):
    return [
        (row.name, row.label, row.verdict, row.correction) for row in read_corrections(path).rows.values()
    ]


def test_every_answer_is_in_the_table_at_once(path):
    session = session_of(path)
    assert session.order() == [0, 2, 1]
    session.answer(0, "wrong", "dog <b>")
    assert verdicts(path) == [("a", "cat", "wrong", "dog <b>")]
    session.answer(1, "remove", None)
    session.answer(2, "unsure", None)
    session.answer(0, "right", None)
    assert verdicts(path) == [
        ("b", "frog", "remove", None),
        ("c", "frog", "unsure", None),
        ("a", "cat", "right", None),
    ]
    assert session.told()[0].verdict == "right"
    row = session.table.rows()["a"]
    assert (row["network_says"], row["confidence"], row["split"]) == ("dog <b>", "0.700", "train")


def test_the_own_class_as_another_one_is_right(path):
    session = session_of(path)
    session.answer(0, "wrong", "cat")
    assert verdicts(path) == [("a", "cat", "right", None)]


def test_undo_goes_back_also_after_a_restart(path):
    session = session_of(path)
    session.answer(0, "wrong", "frog")
    session.answer(2, "right", None)
    session.answer(0, "unsure", None)
    assert session.undo() == 0
    assert session.told()[0].correction == "frog", "as it was before"
    again = session_of(path)
    assert set(again.told()) == {0, 2}
    assert {again.undo(), again.undo()} == {0, 2}
    assert again.told() == {}
    assert again.undo() is None


def test_labels_are_those_of_the_data_where_earlier_corrections_changed_them(path):
    session = session_of(path, [item("a", "frog")], original={"a": "cat"})
    session.answer(0, "right", None)
    assert verdicts(path) == [("a", "cat", "wrong", "frog")]
    session.answer(0, "wrong", "cat")
    assert verdicts(path) == [("a", "cat", "right", None)]


def test_the_test_split_comes_behind_and_numbers_stay(path):
    first = [item("a"), item("b", suspicion=0.4)]
    more = [item("t", split="test", suspicion=0.95), *first]
    session = session_of(path, first, more=lambda: more)
    assert session.has_more
    session.show_more()
    assert not session.has_more
    assert [one.image.name for one in session.items] == ["a", "b", "t"]
    assert session.order() == [2, 0, 1]


@pytest.mark.parametrize(
    "given", [(3, "right", None), (-1, "right", None), (0, "wrong", "bird"), (0, "wrong", None)]
)
def test_what_cannot_be_meant_is_refused(path, given):
    session = session_of(path)
    with pytest.raises(InputError):
        session.answer(*given)
    assert not path.exists()


def test_a_picture_without_a_label_has_none_that_is_right(path):
    with pytest.raises(InputError, match="no label"):
        session_of(path, [item("a", "")]).answer(0, "right", None)
