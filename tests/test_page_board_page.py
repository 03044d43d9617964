"""The parts of the board as HTML: names are text, numbers are those of the runs."""

from kilnet.page import board_page
from kilnet.runs.listing import found_below
from listed_runs import make_run

HOSTILE = "<img src=x onerror=alert(1)>"


def test_rows_show_numbers_marks_and_hostile_names_as_text(tmp_path):
    make_run(tmp_path / HOSTILE, 180, {"optimizer.lr": 0.25}, test=0.75)
    runs = found_below(tmp_path)
    found = board_page.leaderboard(runs, ["id1"], [HOSTILE], {0}, {0}, ["optimizer.lr"])
    ((name, html),) = found["rows"]
    assert name == "id1"
    assert "<img" not in html
    assert "&lt;img src=x" in html
    for text in (
        "90.00%",
        "75.00%",
        "0.25",
        "85.1–93.4",
        "running",
        "tied",
        "90.0%, 95% interval 85.1% to 93.4%",
    ):
        assert text in html
    assert "disabled>Delete" in html, "a run that is written cannot be deleted"
    assert "optimizer.lr" in found["head"]
    again = board_page.leaderboard(runs, ["id1"], [HOSTILE], set(), {0}, ["optimizer.lr"])
    assert again["version"] != found["version"]


def test_curves_have_a_line_and_a_name_for_each_run():
    rows = [
        {"epoch": str(n), "validation_accuracy": str(n / 10), "validation_loss": "nan"} for n in (1, 2, 3)
    ]
    html = board_page.curves(
        {f"run {n}": rows for n in range(10)} | {HOSTILE: rows, "none": []}, "validation_accuracy"
    )
    assert html.count("<polyline") == 11
    assert html.count('class="key ') == 11
    assert "dashed" in html, "colours are used again, with dashes"
    assert "<img" not in html
    assert "Tick runs" in board_page.curves({"none": []}, "validation_loss")
    assert "<polyline" in board_page.curves({"a": rows}, "validation_loss"), (
        "a loss that is no number is a gap"
    )


def test_a_ranking_says_how_many_tests_there_were():
    pair = {"difference": -0.1, "interval": [-0.15, -0.05], "p_value_holm": 0.003, "is_clear": True}
    names = ["a", "b", HOSTILE]
    found = {
        "runs": names,
        "num_images": 1000,
        "accuracies": [0.9, 0.8, 0.7],
        "accuracy_intervals": [[0.8, 0.95]] * 3,
        "pairs": [
            {"first": one, "second": two, **pair} for one, two in (("a", "b"), ("a", HOSTILE), ("b", HOSTILE))
        ],
        "settings": {"seed": [1, 2, None]},
    }
    html = board_page.comparison(found, names)
    for text in (
        "1,000 validation images; 3 comparisons",
        "5.00 to 15.00",
        "10.00",
        "0.003",
        "clearly worse",
    ):
        assert text in html
    assert "<img" not in html


def test_the_page_may_ask_only_its_own_server():
    html = board_page.board_page("runs", "secret")
    assert "connect-src &#39;self&#39;" in html
    assert "default-src &#39;none&#39;" in html
    assert '"token":"secret"' in html
