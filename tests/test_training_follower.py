"""`torchrun -m kilnet train`: one run of several processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

import kilnet
from kilnet.cli import main
from kilnet.errors import InputError
from kilnet.runs.run import Run
from kilnet.training.follower import refuse_torchrun
from test_training_ranks import TORCHRUN

SETTINGS = {
    "model.depth": 8,
    "model.width": 8,
    "optimizer.name": "sgd",
    "optimizer.lr": 0.002,
    "training.batch_size": 64,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}
FEW = {"data.num_train": 300}
WORDS = ["train", "digits", "--model", "ResNet"]
WORDS += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
# What all processes call; the others than the first leave each call by a SystemExit.
PROGRAM = """
import sys
from contextlib import suppress
from pathlib import Path

import kilnet

settings, out = SETTINGS, Path(sys.argv[1])
with suppress(SystemExit):
    kilnet.train("digits", "ResNet", settings=settings, epochs=1, out=out / "run")
with suppress(SystemExit):
    kilnet.train("digits", "ResNet", settings=settings, epochs=1, out=out / "run")
with suppress(SystemExit):
    kilnet.finetune(out / "run", settings=FEW, epochs=1, out=out / "finetuned")
with suppress(SystemExit):
    kilnet.distill(out / "run", "ResNet", settings=settings | FEW, epochs=1, out=out / "distilled")
"""


def torchrun(*words):
    return [*TORCHRUN, *map(str, words)]


def run(*words):
    return subprocess.run(torchrun(*words), capture_output=True, text=True, check=False, timeout=250)


def own_lines(err):
    """Return what Kilnet has said, without torchrun's own words."""
    return [line for line in err.splitlines() if line.startswith("kilnet: ")]


@pytest.mark.slow
def test_two_processes_train_finetune_and_distill_as_one_does(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("SETTINGS", repr(SETTINGS)).replace("FEW", repr(FEW)))
    done = run(program, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("finished already") == 1
    one, two = tmp_path / "one", tmp_path / "two"
    options = {"progress": False, "epochs": 1}
    kilnet.train("digits", "ResNet", settings=SETTINGS, out=one / "run", **options)
    kilnet.finetune(one / "run", settings=FEW, out=one / "finetuned", **options)
    kilnet.distill(one / "run", "ResNet", settings=SETTINGS | FEW, out=one / "distilled", **options)
    images = Run(one / "run").own_data().validation.images
    for name in ("run", "finetuned", "distilled"):
        runs = [Run(one / name), Run(two / name)]
        losses = [run.history[0].train_loss for run in runs]
        assert losses[1] == pytest.approx(losses[0], abs=1e-4), name
        answers = [run.classifier.logits(images) for run in runs]
        np.testing.assert_allclose(answers[1], answers[0], atol=0.01, err_msg=name)  # rounding errors grow
        if name == "run":  # the others begin where rounding has led it
            assert answers[1].argmax(1).tolist() == answers[0].argmax(1).tolist()


@pytest.mark.slow
def test_a_search_is_refused_once(tmp_path):
    done = run("-m", "kilnet", "tune", "digits", "--out", tmp_path / "out")
    assert done.returncode != 0
    (line,) = own_lines(done.stderr)
    assert "torchrun trains one network in several processes, and a search trains many" in line
    assert not (tmp_path / "out").exists()


@pytest.fixture
def first_of_two(monkeypatch):
    """This process is the first of two, as far as it can tell."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "made-up")
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    distributed.destroy_process_group()


def test_what_trains_many_networks_is_refused_by_the_first(first_of_two, tmp_path, monkeypatch, capsys):
    options = {"out": tmp_path / "out"}
    for verb in (kilnet.tune, kilnet.cross_validate):
        with pytest.raises(InputError, match="torchrun trains one network in several processes"):
            verb("digits", **options)
    monkeypatch.setattr(sys, "argv", ["kilnet", *WORDS, "--folds", "2", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.count("and cross-validation trains many") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_budget_is_kept_by_all(tmp_path):
    start = time.monotonic()
    words = ["train", "digits", "--model", "FastNet", "--budget", "60s", "--out", tmp_path / "run", "--json"]
    done = run("-m", "kilnet", *words)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 80  # with the start of three programs
    assert json.loads(done.stdout)["validation_accuracy"] > 0.5


@pytest.mark.slow
def test_where_one_dies_all_end_and_the_same_command_goes_on(tmp_path):
    words = [*WORDS, "--epochs", 200, "--set", "training.checkpoint_seconds=0.01", "--out", tmp_path / "run"]
    words = torchrun("-m", "kilnet", *words)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
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
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
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


def test_without_torchrun_a_search_may_begin_in_any_thread():
    with ThreadPoolExecutor(1) as pool:  # where no handler of a signal can be set
        assert pool.submit(refuse_torchrun, "a search").result() is None


def children(process):
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def rank_of(process):
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.partition("=")[::2] for entry in entries).get("RANK")
