"""`torchrun -m kilnet train`: one run of several processes."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

import kilnet
from kilnet.recipes.reading import parse_settings
from kilnet.runs.run import Run
from test_training_ranks import TORCHRUN

pytestmark = pytest.mark.slow

WORDS = ["train", "digits", "--model", "ResNet", "--set", "model.depth=8", "--set", "model.width=8"]
WORDS += ["--set", "optimizer.name=sgd", "--set", "optimizer.lr=0.002", "--set", "training.batch_size=64"]
WORDS += [
    "--set",
    "hardware.precision=fp32",
    "--set",
    "hardware.layout=contiguous",
    "--set",
    "hardware.threads=1",
]


def torchrun(*words):
    return [*TORCHRUN, "-m", "kilnet", *map(str, words)]


def run(*words):
    return subprocess.run(torchrun(*words), capture_output=True, text=True, check=False, timeout=250)


def own_lines(err):
    """Return what Kilnet has said, without torchrun's own words."""
    return [line for line in err.splitlines() if line.startswith("kilnet: ")]


def test_an_epoch_of_two_processes_is_that_of_one(tmp_path):
    done = run(*WORDS, "--epochs", 1, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kept: epoch 1 of 1") == 1
    settings = parse_settings([word for word in WORDS if "=" in word])
    one = kilnet.train(
        "digits", "ResNet", settings=settings, epochs=1, out=tmp_path / "one", progress=False
    ).history[0]
    two = Run(tmp_path / "two").history[0]
    assert two.num_validation_correct == one.num_validation_correct
    assert two.train_loss == pytest.approx(one.train_loss, abs=1e-4)
    again = run(*WORDS, "--epochs", 1, "--out", tmp_path / "two")
    assert again.returncode == 0
    assert "finished already" in again.stderr


def test_a_budget_is_kept_by_all(tmp_path):
    start = time.monotonic()
    done = run(
        "train", "digits", "--model", "FastNet", "--budget", "25s", "--out", tmp_path / "run", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 45  # with the start of three programs
    assert json.loads(done.stdout)["validation_accuracy"] > 0.5


def test_where_one_dies_all_end_and_the_same_command_goes_on(tmp_path):
    words = [*WORDS, "--epochs", 200, "--set", "training.checkpoint_seconds=0.01", "--out", tmp_path / "run"]
    process = subprocess.Popen(torchrun(*words), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not (tmp_path / "run" / "timing.csv").exists():
        assert process.poll() is None
        time.sleep(0.1)
    (second,) = [number for number in children(process.pid) if rank_of(number) == "1"]
    os.kill(second, signal.SIGKILL)
    err = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert len(own_lines(err)) == 1, err
    assert re.search("goes on from the state that was saved|resume with|interrupted", own_lines(err)[0])
    num_epochs = len((tmp_path / "run" / "history.csv").read_text().splitlines()) - 1
    process = subprocess.Popen(torchrun(*words), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        if "resumes after epoch" in line:
            assert int(re.search(r"after epoch (\d+)", line)[1]) >= num_epochs
            break
    while len((tmp_path / "run" / "history.csv").read_text().splitlines()) - 1 <= num_epochs:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=60)[1]
    assert len(own_lines(err)) == 1, err


def children(process):
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def rank_of(process):
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.partition("=")[::2] for entry in entries).get("RANK")
