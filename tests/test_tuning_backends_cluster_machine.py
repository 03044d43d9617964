"""One machine of a cluster: its scratch folders, and which files it hands back."""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import kilnet
from kilnet.recipes.reading import load_config
from kilnet.tuning.backends.cluster_machine import (
    Machine,
    Scratch,
    gpus_to_ask,
    num_sharing,
    read_run,
    write_run,
)
from kilnet.tuning.backends.jobs import TrainingJob, job_to_line
from kilnet.tuning.backends.shared_images import share_images
from small_runs import SMALL, make_dataset
from speed_jobs import speed_job


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_files_of_a_run_are_copied_whole_and_others_are_not(tmp_path):
    files = [("state/state.safetensors", b"state"), ("config.toml", b"config"), ("../outside", b"no")]
    write_run(tmp_path / "a" / "run", files)
    (tmp_path / "a" / "run" / "trial.json").write_text("of the search")
    assert read_run(tmp_path / "a" / "run") == [files[1], files[0]]
    assert not (tmp_path / "a" / "outside").exists()
    assert read_run(tmp_path / "none") == []


def test_scratch_of_killed_processes_is_deleted(temporary):
    held, killed, young = Scratch("x"), temporary / f"kilnet-x-{os.getuid()}-abc", Scratch("x")
    killed.mkdir()
    old = time.time() - 1000
    for folder in (held.path, killed):
        os.utime(folder, (old, old))
    new = Scratch("x")
    assert [folder.path.exists() for folder in (held, young, new)] == [True] * 3
    assert not killed.exists()
    for folder in (held, young, new):
        folder.remove()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("num_gpus", "share", "workers", "number", "asked"),
    [
        (1, 0.5, None, 2, 1.0),
        (1, 0.5, 1, 1, 0.5),
        (4, 0.5, None, 8, 4),
        (4, 0.5, 3, 3, 2),  # Ray gives no one and a half
        (2, 0.3, None, 6, 2),
        (1, 0.1, None, 10, 1.0),
        (4, 1.0, 9, 4, 4),
        (0, 0.5, None, 0, 0.0),
    ],
)
def test_trials_share_gpus_and_ray_is_asked_for_as_many_as_they_need(num_gpus, share, workers, number, asked):
    assert num_sharing(num_gpus, share, workers) == number
    assert gpus_to_ask(num_gpus, share, workers) == pytest.approx(asked)
    assert gpus_to_ask(num_gpus, None, workers) == num_gpus


@pytest.mark.slow
def test_each_worker_of_a_machine_sees_one_of_its_gpus(temporary, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    num_threads = torch.get_num_threads()
    machine = Machine(2)
    assert machine.allocate(None, job_to_line(speed_job()), 0.5).num_workers == 4
    workers = machine._workers
    seen = []
    for _ in range(4):
        workers.start(speed_job())
        path = Path(f"/proc/{workers._processes[-1].process.pid}/environ")
        while not (environment := path.read_bytes()):  # empty until the program has taken its place
            time.sleep(0.01)
        seen += [line for line in environment.split(b"\0") if line.startswith(b"CUDA_VISIBLE_DEVICES=")]
    machine.close()
    torch.set_num_threads(num_threads)
    assert seen == [b"CUDA_VISIBLE_DEVICES=" + gpu for gpu in (b"2", b"5", b"2", b"5")]


@pytest.mark.slow
def test_a_run_that_moves_between_machines_is_that_of_one(tmp_path, temporary):
    """Begun on one, which is closed in the middle, and ended on another that knows only what came back."""
    dataset, home = make_dataset(), tmp_path / "home"
    share_images(dataset, home / "images")
    settings = SMALL | {"training.epochs": 3, "hardware.threads": 1}
    job = TrainingJob(
        name="trial 1",
        config=load_config(settings=settings),
        folder=home / "run",
        images=home / "images",
        until=1,
        score_validation=True,
    )
    num_threads = torch.get_num_threads()
    for until in (1, 3):
        machine = Machine(1)
        assert machine.allocate(1, job_to_line(speed_job())).num_workers == 1
        shared = sorted((home / "images").iterdir())
        machine.share(
            "images", [file.name for file in shared], *(np.fromfile(file, np.uint8) for file in shared)
        )
        machine.start(job_to_line(replace(job, until=until)), "images", read_run(job.folder))
        kinds = []
        while "done" not in kinds:
            for report in machine.next_reports(0.5):
                kinds.append(report.event["kind"])
                write_run(job.folder, report.files)
                assert all(not Path(name).is_absolute() for name, _ in report.files)
        assert [kind for kind in kinds if kind != "step"] == ["epoch"] * (1 if until == 1 else 2) + ["done"]
        assert machine.close() == []
    torch.set_num_threads(num_threads)
    assert not list(temporary.glob("*"))
    whole = kilnet.train(dataset, settings=settings, out=tmp_path / "whole", progress=False)
    for name in ("history.csv", "weights.safetensors", "state/state.safetensors"):
        assert (job.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert (job.folder / "correct.npy").is_file()
