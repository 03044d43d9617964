"""Runs and searches as they are found below a folder, without torch."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from kilnet.errors import InputError
from kilnet.runs import listing
from kilnet.runs.listing import found_below
from kilnet.runs.run import Run
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.search_folder import SearchFolder
from listed_runs import ENVIRONMENT, make_run


def by_path(folder):
    return {str(run.path.relative_to(folder)): run for run in found_below(folder)}


def test_what_is_told_of_a_run_is_what_its_files_say(tmp_path):
    make_run(tmp_path / "deep" / "er", 180, {"optimizer.lr": 0.25, "model.name": "FastNet"}, test=0.5)
    (run,) = found_below(tmp_path)
    assert (run.path, run.kind) == (tmp_path / "deep" / "er", "run")
    expected = {
        "status": "finished",
        "data": "photos",
        "model": "FastNet",
        "optimizer.lr": 0.25,
        "epochs": 2,
        "best_epoch": 1,
        "accuracy": 0.9,
        "loss": 0.25,
        "num_validation_correct": 180,
        "num_validation": 200,
        "num_parameters": 1234,
        "seconds": 40.0,
        "images_per_second": 17.5,
        "test.accuracy": 0.5,
        "test.macro_recall": 0.25,
        "test.accuracy_interval": [0.1, 0.9],
    }
    assert {key: run.values[key] for key in expected} == expected
    assert "test.confusion" not in run.values
    json.dumps(run.to_dict(), allow_nan=False)


def test_real_runs_and_searches_are_read_as_they_read_themselves(digit_runs, search):
    found = by_path(digit_runs)
    assert set(found) == {"a", "b", "fewer"}
    for name, listed in found.items():
        run = Run(digit_runs / name)
        assert listed.values["accuracy"] == run.best.validation_accuracy
        assert listed.values["loss"] == run.best.validation_loss
        assert listed.values["status"] == ("finished" if run.finished else "unfinished") == "finished"
        settings = {key: value for key, value in run.config.flat().items() if value is not None}
        as_toml = json.loads(json.dumps(settings))
        assert {key: listed.values[key] for key in as_toml} == as_toml
    (listed,) = found_below(search.folder.parent)
    assert listed.kind == "search"
    assert listed.values["status"] == "finished"
    best = next(row for row in search.summary.trials if row.number == search.summary.winner)
    assert listed.values["accuracy"] == best.accuracy
    assert listed.values["num_trials"] == len(search.summary.trials)


def test_names_of_files_are_those_of_the_folders(tmp_path):
    run, search = RunFolder(tmp_path), SearchFolder(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in (run.config_path, run.environment_path)] == [
        listing.CONFIG,
        listing.ENVIRONMENT,
    ]
    names = (run.history_path, run.timing_path, run.evaluation_path, run.report_path, run.state_path)
    assert [path.relative_to(tmp_path).as_posix() for path in names] == [
        listing.HISTORY,
        listing.TIMING,
        listing.EVALUATION,
        listing.REPORT,
        listing.STATE,
    ]
    assert (search.config_path.name, search.summary_path.name) == (listing.SEARCH, listing.SUMMARY)


def test_a_run_that_has_not_ended_says_so(tmp_path, digit_runs):
    make_run(tmp_path / "begun", num_epochs=1)
    make_run(tmp_path / "budget", settings={"budget.seconds": 9.0, "budget.planned": ["training.epochs"]})
    found = by_path(tmp_path)
    assert found["begun"].values["status"] == found["budget"].values["status"] == "unfinished"
    assert found["budget"].values["budget.planned"] == ["training.epochs"]


def test_parts_of_runs_links_and_hidden_folders_are_not_listed(tmp_path):
    make_run(tmp_path / "run")
    make_run(tmp_path / "run" / "folds" / "1-of-2")
    make_run(tmp_path / ".hidden" / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.toml").write_text("of another program")
    assert set(by_path(tmp_path)) == {"run"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", b"\xff\xfe nonsense"),
        ("config.toml", b"[model]\n"),
        ("history.csv", b"epoch\n1,2,3\n"),
        ("environment.json", b"{"),
        ("evaluation.json", b"[" * 100_000),
    ],
)
def test_damaged_runs_are_listed_as_damaged_beside_the_others(tmp_path, name, content):
    make_run(tmp_path / "good")
    make_run(tmp_path / "bad")
    (tmp_path / "bad" / name).write_bytes(content)
    found = by_path(tmp_path)
    assert found["bad"].values["status"] == "damaged"
    assert found["good"].values["status"] == "finished"


def test_a_pipe_in_place_of_a_file_blocks_nobody(tmp_path):
    make_run(tmp_path / "bad")
    (tmp_path / "bad" / "history.csv").unlink()
    os.mkfifo(tmp_path / "bad" / "history.csv")
    assert by_path(tmp_path)["bad"].values["status"] == "damaged"


def test_settings_that_json_writes_otherwise_are_read_too(tmp_path):
    odd = make_run(tmp_path / "odd", settings={"data.source": "caf\u00e9 \\ \U0001f431"})
    text = (odd / "config.toml").read_text().replace("lr = 0.001", "lr = 1_0.0")
    (odd / "config.toml").write_text(text)
    values = by_path(tmp_path)["odd"].values
    assert values["optimizer.lr"] == 10.0
    assert values["data.source"] == "caf\u00e9 \\ \U0001f431"


def test_the_newest_is_first_and_the_usual_places_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("runs/new", "searches/old", "elsewhere/oldest")):
        folder = make_run(tmp_path / name)
        for path in folder.iterdir():
            os.utime(path, (1e9 - 1000 * age, 1e9 - 1000 * age))
    assert [str(run.path) for run in found_below()] == ["runs/new", "searches/old"]
    shutil.rmtree("runs")
    shutil.rmtree("searches")
    assert [str(run.path) for run in found_below()] == ["elsewhere/oldest"]
    with pytest.raises(InputError, match="gone: no such folder"):
        found_below("gone")


def test_a_thousand_runs_take_less_than_a_second_or_than_torch_which_is_not_loaded(tmp_path):
    first = make_run(
        tmp_path / "first", settings={"budget.seconds": 60.0, "budget.planned": ["training.epochs"]}
    )
    for number in range(999):
        shutil.copytree(first, tmp_path / f"{number % 7}" / f"{number}")
    code = (
        "import atexit, sys, time; from kilnet.cli import main; "
        "atexit.register(lambda: print(time.process_time(), sys.modules.keys() & {'torch', 'numpy'} or 'light')); "
        "main()"
    )
    importing = "import time, torch; print(time.process_time())"
    torch_seconds = float(subprocess.check_output([sys.executable, "-c", importing]))
    limit = max(1.0, torch_seconds)  # which takes longer on a slow machine
    seconds = []
    for _ in range(3):
        words = ("runs", tmp_path, "--where", "accuracy>0.5", "--sort", "loss")
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        *_, counted, _, last = done.stdout.splitlines()
        assert counted == "1,000 runs, 1,000 unfinished"
        took, loaded = last.split(maxsplit=1)
        assert loaded == "light", "torch takes seconds, and numpy a tenth of one"
        seconds.append(float(took))
        if seconds[-1] < limit:
            break
    assert min(seconds) < limit, "for the whole command"


def test_made_up_environments_have_what_real_ones_have(digit_runs):
    real = Run(digit_runs / "a").environment
    assert ENVIRONMENT["data"].keys() <= real["data"].keys()
    assert "num_parameters" in real
    assert time.time() > 0
