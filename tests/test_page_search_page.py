"""The page of a search."""

import pytest

from kilnet.errors import InputError
from kilnet.page.document import render
from kilnet.page.search_page import search_sections
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
    with pytest.raises(InputError, match="no trial"):
        search_sections(make_summary([rows[2]], set(), {}))
