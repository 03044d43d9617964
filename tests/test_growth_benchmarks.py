"""The benchmarks that let something grow: pictures, trials."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kilnet
from digit_searches import SETTINGS

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.slow


def said_by(name, *words):
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searches") / "recorded"
    options = {"finalists": 1, "seeds": 1, "epochs": 3, "workers": 1, "device": "cpu", "progress": False}
    kilnet.HyperSearch("digits", {"model.c1": [4, 8]}, settings=SETTINGS, out=folder, **options).optimize()
    return folder


def test_each_command_is_timed_as_pictures_grow_and_what_is_there_is_not_made_again(tmp_path):
    words = ["--numbers", 60, "--classes", "--sizes", "--usual-size", 16]
    lines = said_by("growth", *words, "--out", tmp_path).splitlines()
    assert lines[0].startswith("| pictures, classes, pixels | data | read | first step | epoch |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 60, 10, 16"]
    found = json.loads((tmp_path / "60, 10, 16.json").read_text())
    assert (
        min(found[key] for key in ("data", "read", "first step", "epoch", "evaluate", "report", "export")) > 0
    )
    assert len(list((tmp_path / "pictures-60-10").glob("*/*.jpg"))) == 60
    (tmp_path / "pictures-60-10").rename(tmp_path / "away")
    assert said_by("growth", *words, "--out", tmp_path).splitlines() == lines
    assert not (tmp_path / "pictures-60-10").exists()


def test_recorded_histories_are_replayed_by_many_workers(search):
    output = said_by("many_trials", search, "--trials", 20, "--workers", 8)
    assert re.search(r"^20 trials, \d+ events, 8 workers: \d+ s in all$", output, re.M)
    assert re.search(r"^processor time of the search: [\d.]+ s, [\d.]+ ms per event$", output, re.M)


def test_recorded_histories_are_replayed_through_a_real_ray(search):
    pytest.importorskip("ray")
    words = ["--trials", 12, "--workers", 4, "--nodes", 2, "--epoch-seconds", 0.2, "--bytes", 1000]
    output = said_by("many_trials", search, *words)
    assert "2 nodes with 2 workers each" in output
    assert re.search(
        r"^an epoch of 0.2 s: 12 trials, .*; [01]\.\d\d of workers that never wait", output, re.M
    )


def test_a_grid_is_recorded_once_and_searched_for_nothing(tmp_path):
    words = ["digits", "--grid", "eight", "--epochs", 2, "--seeds", 2, "--num-train", 200, "--out", tmp_path]
    said = said_by("grids", *words).splitlines()
    assert len(said) == 16
    files = sorted(tmp_path.glob("*/*.npz"))
    assert len(files) == 16
    times = [file.stat().st_mtime_ns for file in files]
    assert said_by("grids", *words).splitlines() == said, "what is there is not trained again"
    assert [file.stat().st_mtime_ns for file in files] == times
    other = [sys.executable, FOLDER / "grids.py", "digits", "--epochs", "2", "--out", tmp_path]
    refused = subprocess.run(other, capture_output=True, text=True, check=False)
    assert (refused.returncode, "another grid is recorded there" in refused.stderr) == (2, True)
    grid = json.loads((tmp_path / "grid.json").read_text())
    assert grid["moments"] == sorted({2 / 243, 2 / 81, 2 / 27, 2 / 9, 2 / 3, 1, 2})
    found = np.load(files[0])
    assert found["loss"].shape == (7,)
    assert np.unpackbits(found["right"], axis=1).shape[1] - 8 < grid["num_validation"]
    lines = said_by("replay", tmp_path, "--repeats", 2).splitlines()
    assert re.search(r": 8 cells, 2 seeds, best \d+\.\d+%$", lines[0])
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "full",
        "grid in rungs",
        "one epoch, best 1",
        "one epoch, best 3",
    ]
    passes = [float(re.search(r"([\d.]+)% of the passes", line)[1]) for line in lines[1:]]
    assert passes == [100, 68.8, 56.2, 68.8]
