"""A run in its folder: begun, gone on with, refused, interrupted, starved of disk."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import kilnet
from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import (
    DataError,
    DivergedError,
    InterruptedRunError,
    ModelError,
    RunFolderError,
    StorageError,
)
from kilnet.inference.kept_tensors import write_tensors
from kilnet.recipes.reading import load_config
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.run_folder import RunFolder
from kilnet.training.session import TrainingSession
from kilnet.training.speed import Speed
from kilnet.verbs.request import requested
from made_up_machine import STEP, TINY, Machine
from made_up_machine import make_dataset as make_coloured_dataset
from small_runs import SMALL, kept, make_dataset, train


def test_training_from_config_toml_repeats_the_run(tmp_path):
    first = train(tmp_path / "first", augment="tutorial", seed=5)
    again = kilnet.train(
        make_dataset(), recipe=first.folder / "config.toml", out=tmp_path / "again", progress=False
    )
    assert kept(first.folder) == kept(again.folder)


def test_the_same_call_again_changes_nothing(tmp_path):
    first = train(tmp_path / "run")
    before = kept(first.folder)
    again = train(tmp_path / "run")
    assert again.history == first.history
    assert kept(again.folder) == before


def test_default_folders_are_found_again_and_never_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again, other = train(None), train(None), train(None, seed=1)
    assert first.folder == again.folder
    assert [run.folder.as_posix() for run in (first, other)] == ["runs/made-ResNet", "runs/made-ResNet-2"]


def test_a_state_of_an_earlier_version_is_resumed(tmp_path):
    """Its records did not know how many images were validated, and nothing said whether the run is over."""
    whole = kept(train(tmp_path / "whole").folder)
    session = TrainingSession(make_dataset(), load_config(settings=SMALL), tmp_path / "run")
    for record in session:
        if isinstance(record, EpochRecord):
            break
    folder = RunFolder(tmp_path / "run")
    tensors, rest = folder.load_state()
    del rest["is_over"]
    for row in rest["history"]:
        del row["num_validation"]
    write_tensors(folder.state_path, tensors, rest)
    resumed = TrainingSession(make_dataset(), load_config(settings=SMALL), tmp_path / "run")
    assert len(list(resumed)) == 4
    assert [record.num_validation for record in resumed.loop.history] == [20, 20]
    names = ("weights.safetensors", "history.csv")
    assert [(tmp_path / "run" / name).read_bytes() for name in names] == [whole[name] for name in names]


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    before = kept(train(tmp_path / "run").folder)
    with pytest.raises(RunFolderError, match=r"optimizer\.lr: 0\.001 -> 0\.01; seed: 0 -> 7") as refusal:
        train(tmp_path / "run", **{"optimizer.lr": 0.01, "seed": 7})
    assert "\n" not in str(refusal.value)
    assert kept(tmp_path / "run") == before


def test_other_images_are_refused(tmp_path):
    train(tmp_path / "run")
    with pytest.raises(RunFolderError, match="the data is not what this run began with"):
        train(tmp_path / "run", make_dataset(offset=1))


def test_training_never_sees_the_test_split(tmp_path):
    dataset = make_dataset()
    train(tmp_path / "run", dataset)
    bare = ImageDataset("made", dataset.classes, dataset.train, dataset.validation, None)
    train(tmp_path / "bare", bare)
    assert kept(tmp_path / "run") == kept(tmp_path / "bare")
    with pytest.raises(DataError, match="sealed"):
        dataset.sealed().test  # noqa: B018


def test_a_diverging_run_keeps_its_best_weights(tmp_path):
    dataset = make_dataset()
    settings = {"optimizer.name": "sgd", "training.epochs": 30, "optimizer.schedule": "constant"}
    config = load_config(settings=SMALL | settings)
    session = TrainingSession(dataset, config, tmp_path / "run")
    with pytest.raises(DivergedError, match=r"the weights of epoch \d+ are kept"):
        for record in session:
            if session.loop.history and not hasattr(record, "step"):
                weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
                for parameter in session.loop.model.parameters():
                    parameter.data.fill_(1e38)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights
    assert kilnet.load(tmp_path / "run").logits(dataset.test.images).shape == (20, 2)


def test_the_average_of_the_weights_is_what_is_kept(tmp_path):
    run = train(tmp_path / "run", **{"training.averaging_epochs": 0.5, "augment.horizontal_flip": 0.5})
    classifier = kilnet.load(run)
    tensors, _ = RunFolder(run.folder).load_state()
    assert run.best == run.history[-1], "else the state holds other weights"
    for name, value in classifier.model.state_dict().items():
        assert torch.equal(value, tensors[f"average/{name}"]), name
    correct = classifier.logits(make_dataset().validation.images).argmax(1) == np.arange(20) % 2
    assert correct.sum() == run.best.num_validation_correct


def test_the_views_are_kept_with_the_weights(tmp_path):
    run = train(tmp_path / "run", **{"views.mirror": True, "views.margin": 0.7})
    assert kilnet.load(run).views == run.config.views
    assert kilnet.load(train(tmp_path / "plain")).views == RunConfig().views


def test_a_resolution_that_the_network_cannot_take_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"^training\.low_resolution: ConvNet does not take .*4, 4"):
        config = load_config(settings={"model.name": "ConvNet", "training.low_resolution": [[0.5, 0.27]]})
        images = np.zeros((4, 1, 16, 16), np.uint8)
        split = Split(images, np.arange(4) % 2, tuple("abcd"))
        TrainingSession(ImageDataset("made", ("a", "b"), split, split, None), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("failing_write", [1, 3, 5, 6])
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, failing_write):
    """The disk is full at one write, whichever it is; with room again the same call ends as if it never had been."""
    whole = kept(train(tmp_path / "whole").folder)
    real_fsync, num_writes = os.fsync, 0

    def fsync(handle):
        nonlocal num_writes
        if stat.S_ISREG(os.fstat(handle).st_mode):
            num_writes += 1
            if num_writes == failing_write:
                raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(
            StorageError, match="No space left on device; make room and run the same command again"
        ):
            train(tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert kept(train(tmp_path / "run").folder) == whole


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    whole = kept(train(tmp_path / "whole").folder)
    config = load_config(settings=SMALL | {"data.source": "ImageDataset"})  # as `kilnet.train` calls it
    session = TrainingSession(make_dataset(), config, tmp_path / "run")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        InterruptedRunError, match=r"resume with: `kilnet.train\(.*, recipe=.*, out=.*\)`"
    ) as stop:
        for num_records, _ in enumerate(session):
            if num_records == 1:
                signal.raise_signal(signal.SIGINT)
    assert stop.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert kept(train(tmp_path / "run").folder) == whole


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no alarm")
def test_ctrl_c_in_a_step_that_takes_long_does_not_wait_for_it(tmp_path):
    whole = kept(train(tmp_path / "whole").folder)
    config = load_config(settings=SMALL | {"data.source": "ImageDataset"})
    session = TrainingSession(make_dataset(), config, tmp_path / "run")
    alarm = signal.getsignal(signal.SIGALRM)
    started = time.monotonic()

    def hang(*_):
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)

    with pytest.raises(InterruptedRunError, match=r"what is saved resumes with: `kilnet.train\("):
        for record in session:
            if getattr(record, "epoch", 0) == 2:
                session.loop.model.register_forward_hook(hang)
    assert time.monotonic() - started < 30
    assert signal.getsignal(signal.SIGALRM) is alarm
    assert kept(train(tmp_path / "run").folder) == whole


@pytest.mark.slow
def test_ctrl_c_on_the_command_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "kilnet",
        "train",
        "digits",
        "--epochs",
        "500",
        "--out",
        str(tmp_path / "run"),
    ]
    for key, value in SMALL.items():
        if key != "training.epochs":
            command += ["--set", f"{key}={value}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "history.csv").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1].startswith(
        "kilnet: stopped; the state is saved, resume with: kilnet train digits"
    )
    assert (tmp_path / "run" / "state" / "state.safetensors").exists()


@pytest.mark.slow
def test_a_session_that_was_left_goes_on_with_the_plan_and_the_time_that_it_had(tmp_path, monkeypatch):
    per_image = STEP / 25
    speed = Speed({1.0: per_image, 0.75: 0.5625 * per_image, 0.5: 0.25 * per_image}, 0.0, 160 / 4 * per_image)
    monkeypatch.setattr("kilnet.training.plan.measure_network", lambda *_: speed)
    dataset = make_coloured_dataset()
    settings = TINY | {"training.averaging_epochs": 0}  # the clock hears the network that trains
    config = requested(dataset, None, None, settings, None, None, None, "50s")
    machine = Machine()

    def session():
        made = TrainingSession(dataset, config, tmp_path / "run", machine.now, machine.clock)
        made.loop.model.register_forward_hook(machine.work)
        return made

    first = session()
    for record in first:
        if isinstance(record, StepRecord) and machine.now > 20:
            first._save_state()
            break
    environment = (tmp_path / "run" / "environment.json").read_bytes()
    machine.now += 500  # nobody works on it
    second = session()
    assert second.seconds_left == pytest.approx(50 - 20, abs=2)
    assert second.config == first.config
    assert second.plan == first.plan
    since = machine.now
    list(second)
    assert machine.now - since == pytest.approx(50 - 20, abs=4)
    assert (tmp_path / "run" / "environment.json").read_bytes() == environment
    assert RunFolder(tmp_path / "run").history()[-1].lr < 0.05 * config.optimizer.lr
