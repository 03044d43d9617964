"""What a shell offers at Tab."""

import os
import subprocess
import sys

import pytest

from kilnet.cli import completion
from kilnet.data.sources import NAMES
from kilnet.models import MODELS


def offered(words, folder):
    """Ask as the function for bash does."""
    environment = {
        **os.environ,
        "_KILNET_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["kilnet", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = (
        "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); "
        "from kilnet.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "False", "torch would take seconds"
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path):
    for name, mark in (("runs/a", "config.toml"), ("runs/b", "config.toml"), ("searches/s", "search.toml")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / mark).touch()
    (tmp_path / "runs" / "deep").mkdir()
    (tmp_path / "photos").mkdir()
    return tmp_path


def test_verbs_options_and_settings_are_offered_by_the_program(folder):
    assert {"train", "tune"} == set(offered(["t"], folder))
    assert "--budget" in offered(["train", "digits", "--b"], folder)
    assert offered(["train", "digits", "--set", "optimizer.l"], folder) == [
        "optimizer.lr=",
        "optimizer.linear_factor=",
        "optimizer.layer_decay=",
    ]
    assert offered(["evaluate", "runs/"], folder) == ["runs/a", "runs/b", "runs/deep/"]


def test_the_last_part_of_a_setting_finds_it():
    assert "optimizer.momentum=" in completion.settings("momen")
    assert completion.settings("xyzzy") == []


def test_runs_and_searches_are_offered_in_their_places_and_below_any_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = completion.runs("")
    assert found[:3] == ["runs/a", "runs/b", "searches/s"]
    assert {"photos/", "runs/", "searches/"} <= set(found)
    assert completion.runs("runs/d") == ["runs/deep/"]
    assert completion.runs("nowhere/") == []


def test_names_are_offered_where_they_are_known(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert completion.data("d") == ["digits"]
    assert completion.data("p") == ["photos/"]
    assert "fast-94" in completion.recipes("fast")
    assert "wide" in completion.spaces("w")
    assert {"fast", "wide"} <= set(completion.recipes_and_spaces(""))
    assert completion.models("eff") == ["EfficientNetLite"]
    assert completion.models("") == list(MODELS)
    assert {name for name in NAMES if "/" not in name} == {
        name for name in completion.data("") if name[-1] != "/"
    }
