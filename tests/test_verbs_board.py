"""What the board says of runs and searches, and what it refuses."""

import re
import time

import pytest

from kilnet.errors import InputError
from kilnet.storage import held
from kilnet.verbs.board import Board
from listed_runs import make_run


def names(found):
    return [re.search(r'data-name=".*?([^/]*)"', html)[1] for _, html in found["rows"]]


def test_runs_are_ranked_filtered_and_versioned(tmp_path):
    for number in range(4):
        make_run(tmp_path / f"r{number}", 150 + 10 * number, {"optimizer.lr": 0.1 * (1 + number % 2)})
    board = Board(tmp_path)
    found = board.runs(sort="accuracy")
    assert names(found) == ["r3", "r2", "r1", "r0"]
    assert (found["sorted_by"], found["is_rising"]) == ("accuracy", False)
    assert names(board.runs(where="lr=0.2, accuracy<=90%", sort="accuracy")) == ["r3", "r1"]
    assert names(board.runs(sort="accuracy", reverse=True)) == ["r0", "r1", "r2", "r3"]
    assert board.runs(sort="accuracy", seen=found["version"]).keys() == {"version", "wait"}
    make_run(tmp_path / "r4", 199)
    newer = board.runs(sort="accuracy", seen=found["version"])
    assert names(newer)[0] == "r4"
    with pytest.raises(InputError, match="did you mean accuracy"):
        board.runs(sort="acuracy")


def test_a_run_below_the_one_folder_is_called_by_the_rest_of_its_path(tmp_path, monkeypatch):
    for name in ("runs/week/a", "searches/b"):
        make_run(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    def called(folder):
        rows = [html for _, html in Board(folder).runs()["rows"]]
        return {re.search(r"<bdi>(.*?)</bdi>", html)[1].replace("<wbr>", "") for html in rows}

    assert called(tmp_path / "runs") == called("runs") == {"week/a"}
    assert called(tmp_path / "runs/week/a") == {f"{tmp_path}/runs/week/a"}
    assert called(None) == {"runs/week/a", "searches/b"}


def test_a_run_that_grows_is_read_again(tmp_path):
    folder = make_run(tmp_path / "a", num_epochs=1)
    board = Board(tmp_path)
    with held(folder, "writing this run"):
        assert "1 running" in board.runs()["summary"]
    before = board.runs()
    (folder / "history.csv").write_text(
        (folder / "history.csv").read_text() + "2,0.1,0.5,0.5,0.2,0.95,190,True\n"
    )
    after = board.runs(seen=before["version"])
    assert "95.00%" in after["rows"][0][1]
    assert "finished" in after["rows"][0][1]


def test_two_hundred_runs_are_answered_quickly(tmp_path):
    for number in range(200):
        make_run(tmp_path / f"{number}", 100 + number % 90)
    board = Board(tmp_path)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        board.runs(sort="accuracy")
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


def test_reports_and_deletions_go_by_names_that_choose_no_path(tmp_path):
    run = make_run(tmp_path / "a")
    board = Board(tmp_path)
    ((name, _),) = board.runs()["rows"]
    with pytest.raises(InputError, match="no report yet"):
        board.report(name)
    (run / "report.html").write_text("<p>made")
    assert board.report(name) == "<p>made"
    for other in ("../a", str(run), ""):
        with pytest.raises(InputError, match="no such run"):
            board.delete(other)
    drawn = board.curves([name], "validation_accuracy")
    board.delete(name)
    assert not run.exists()
    assert "polyline" in drawn
    assert "polyline" not in board.curves([name], "validation_accuracy"), "the page may ask once more"


@pytest.mark.slow
def test_a_search_is_followed_on_its_page(search):
    board = Board(search.folder.parent)
    ((name, row),) = board.runs()["rows"]
    assert "live page" in row
    page = board.search_page(name)
    version = re.search(r'data-version="(\w+)"', page)[1]
    assert f'data-live="/api/search?run={name}"' in page
    found = board.search_sections(name)
    assert found["version"] == version
    assert found["over"]
    for part, html, _ in found["sections"]:
        assert f'<section id="{part}"' in page
        assert html in page
    assert board.search_sections(name, version).keys() == {"version", "wait", "over"}
    assert "polyline" in board.curves([name], "validation_accuracy")


@pytest.mark.slow
def test_runs_are_compared_by_the_tests_of_compare(digit_runs):
    board = Board(digit_runs)
    ids = {one: name for (name, _), one in zip(board.runs()["rows"], names(board.runs()), strict=True)}
    html = board.comparison([ids["a"], ids["b"]])
    assert "1 comparison, corrected" in html
    assert "most accurate" in html
