"""What a notebook shows of results."""

import sys

import pytest

from kilnet.errors import InputError
from kilnet.metrics.notebook import data_frame, facts_html, interval


def test_text_is_escaped():
    page = facts_html("<b>", {"<script>": "a & b"})
    assert page.startswith("<table><caption><bdi>&lt;b&gt;</bdi>")
    assert "<script" not in page
    assert "a &amp; b" in page
    assert interval(0.5, 0.75) == "50.0% to 75.0%"


def test_without_pandas_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        data_frame([{"a": 1}])


def test_rows_become_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = data_frame([{"a": 1, "b": None}, {"a": 2, "b": 0.5}])
    assert isinstance(frame, pandas.DataFrame)
    assert frame["a"].tolist() == [1, 2]
