"""The page of a search."""

import pytest

from kilnet.errors import InputError
from kilnet.page.document import render
from kilnet.page.search_page import search_sections
from kilnet.training.records import EpochRecord
from made_up_search import make_row, make_summary


def test_a_search_of_any_values_becomes_sections():
    rows = [
        make_row(
            number,
            {"lr": 10.0**-number, "on": number % 2 == 0, "<b>": ("x", "y")[number % 2]},
            None if number == 2 else 0.5 + number / 10,
        )
        for number in range(4)
    ]
    summary = make_summary(rows, {1}, {"lr": 0.75, "<b>": 0.25})
    page = render("search", "", search_sections(summary))
    assert "80.0%" in page
    assert "trial 3, the best" in " ".join(page.split())
    assert "1 of 1 others: trial 1." in page
    assert page.count('<tr class="marked">') == 4, "two finalists and their trials"
    assert page.count('class="trial') == 3
    assert "<b>" not in page.replace("<bdi>", "")
    assert "cannot be told from 3 trials" in page, "importance of so few is none"
    with pytest.raises(InputError, match="no trial"):
        search_sections(make_summary([rows[2]], set(), {}))


def test_trials_come_by_rank_and_their_curves_lie_on_each_other():
    rows = [
        make_row(number, {"optimizer.lr": 0.1 / (number + 1), "model.c1": 8}, 0.5 + number / 40)
        for number in range(12)
    ]
    summary = make_summary(rows, {10}, {"optimizer.lr": 0.9, "model.c1": 0.1})
    history = [
        EpochRecord(
            epoch=epoch,
            lr=0.1,
            train_loss=1.0,
            train_accuracy=0.5,
            validation_loss=1.0,
            validation_accuracy=0.1 * epoch,
            num_validation_correct=10 * epoch,
            num_validation=100,
            is_best=True,
        )
        for epoch in (1, 2, 3)
    ]
    summary.__dict__["histories"] = {number: tuple(history) for number in range(12)}
    summary.__dict__["importance_range"] = {"optimizer.lr": (0.6, 1.0), "model.c1": (0.0, 0.4)}
    sections = {section.id: section for section in search_sections(summary)}
    assert list(sections)[:3] == ["result", "finalists", "trials"]
    table = sections["trials"].content
    assert [row["cells"][0]["text"] for row in table["rows"]] == [
        str(number) for number in reversed(range(12))
    ]
    assert [head["title"] for head in table["heads"]][:3] == ["trial", "lr", "c1"]
    assert [row["cells"][-1]["text"] for row in table["rows"]][:3] == ["yes", "yes", ""]
    curves = sections["curves"].content["chart"]
    assert curves.count("<polyline") == 12
    assert curves.count("line second") == 2, "the winner and the one that is tied with it"
    assert "epoch 3: 12 trials, best trial 11 with 30.0%, median 30.0%" in curves
    assert "optimizer.lr 90% (60 to 100%)" in sections["importance"].content["chart"]
    assert sections["importance"].content["chart"].count("whisker") == 2
