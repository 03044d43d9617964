"""Workers as processes: which events come when training goes well, and when it does not."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kilnet
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import WorkerError
from kilnet.recipes.reading import load_config
from kilnet.runs.run import Run
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.backends.jobs import TrainingJob
from kilnet.tuning.backends.processes import LocalWorkers
from kilnet.tuning.backends.shared_images import share_images

TINY = {
    "model.name": "ConfigNet",
    "model.c1": 2,
    "model.c2": 4,
    "model.l1": 8,
    "training.epochs": 2,
    "training.batch_size": 20,
    "hardware.device": "cpu",
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}

# Networks of a user: each behaves in training and looks fine before, when it is built and tried on two images.
NETWORKS = """
import os, sys
import torch
from torch import nn

class Linear(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.linear = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], num_classes)
    def forward(self, images):
        if self.training:
            self.misbehave(images)
        return self.linear(images.flatten(1))

class Hungry(Linear):
    def misbehave(self, images):
        raise MemoryError("no room for 3 TB")

class HungryTorch(Linear):
    def misbehave(self, images):
        torch.empty(2**60, dtype=torch.uint8)

class Wrong(Linear):
    def misbehave(self, images):
        raise ValueError("first line\\nsecond line")

class Leaving(Linear):
    def misbehave(self, images):
        os._exit(7)

class Talking(Linear):
    def misbehave(self, images):
        print('{"kind": "done"}', flush=True)
        os.write(1, b"nonsense\\n")
"""


def make_dataset():
    random = np.random.default_rng(0)

    def split(num_images):
        labels = np.arange(num_images) % 2
        images = random.integers(0, 150, (num_images, 1, 12, 12)) + 90 * labels[:, None, None, None]
        return Split(images.astype(np.uint8), labels, tuple(map(str, range(num_images))))

    return ImageDataset("made", ("dark", "light"), split(100), split(30), split(30), ("a warning",))


@pytest.fixture(scope="module", autouse=True)
def images(tmp_path_factory):
    """Shared images, in a folder from which this process imports the user's own networks."""
    home = tmp_path_factory.mktemp("home")
    (home / "my_networks.py").write_text(NETWORKS)
    share_images(make_dataset(), home / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(home)
        yield home / "images"


@pytest.fixture(scope="module")
def workers(images):
    """One worker for most tests: each process takes seconds to begin."""
    workers = LocalWorkers(1, 1, images.parent / "logs")
    yield workers
    workers.close()


def job_of(folder, images, until=2, score_validation=False, epochs=2, **settings):
    return TrainingJob(
        name=folder.name,
        config=load_config(settings={**TINY, "training.epochs": epochs, **settings}),
        folder=folder,
        images=images,
        until=until,
        score_validation=score_validation,
    )


def own_network(folder, images, name):
    settings = {key: value for key, value in TINY.items() if not key.startswith("model.")}
    config = load_config(settings={**settings, "model.name": f"my_networks:{name}"})
    own_models = frozenset([config.model.name])
    return TrainingJob(name=name, config=config, folder=folder, images=images, until=2, own_models=own_models)


def events_until_end(workers, seconds=120):
    """All events but steps, until one job has ended."""
    events = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        event = workers.next_event(0.5)
        if event is not None and event.kind != "step":
            events.append(event)
            if event.is_end:
                return events
    raise AssertionError(f"no end after {seconds} seconds, only {events}")


def wait_for_epoch(workers):
    for _ in range(1000):
        event = workers.next_event(0.5)
        if event is not None and event.kind != "step":
            assert event.kind == "epoch", event.reason
            return event
    raise AssertionError("no epoch")


def test_a_job_is_a_run_and_a_rung_is_part_of_it(workers, images, tmp_path):
    """Trained in two jobs with another in between, it is the run that `train` makes of the same configuration."""
    folder = tmp_path / "trial"
    assert workers.num_idle == 1
    workers.start(job_of(folder, images, until=1))
    assert workers.num_idle == 0
    first = events_until_end(workers)
    assert workers.num_idle == 1
    workers.start(job_of(tmp_path / "other", images, until=1, seed=1))
    events_until_end(workers)
    workers.start(job_of(folder, images, until=2, score_validation=True))
    second = events_until_end(workers)
    assert [(r.kind, r.record and r.record.epoch) for r in first + second] == [
        ("epoch", 1),
        ("done", None),
        ("epoch", 2),
        ("done", None),
    ]
    assert [r.record for r in first + second if r.record] == RunFolder(folder).history()
    whole = kilnet.train(make_dataset(), settings=TINY, out=tmp_path / "whole", progress=False)
    for name in ("history.csv", "weights.safetensors"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()
    validation = make_dataset().validation
    right = Run(folder).classifier.logits(validation.images).argmax(1) == validation.labels
    correct = np.load(folder / "correct.npy")
    assert correct.dtype == bool
    assert np.array_equal(correct, right)
    best = [record for record in RunFolder(folder).history() if record.is_best][-1]
    assert correct.sum() == best.num_validation_correct

    workers.start(job_of(folder, images, until=2))  # it is there already
    assert [event.kind for event in events_until_end(workers)] == ["done"]
    assert (folder / "history.csv").read_bytes() == (whole.folder / "history.csv").read_bytes()


def test_one_that_diverges_is_no_use_trying_again(workers, images, tmp_path):
    settings = {"optimizer.name": "sgd", "optimizer.lr": 1e30, "optimizer.schedule": "constant"}
    workers.start(job_of(tmp_path / "trial", images, **settings))
    event = events_until_end(workers)[-1]
    assert event.kind == "failed"
    assert "loss became" in event.reason
    assert "optimizer.lr" in event.reason


def test_one_whose_folder_cannot_be_written_blocks(workers, images, tmp_path):
    """A quota is hard to come by; a folder that vanished refuses to be written just so."""
    workers.start(job_of(tmp_path / "trial", images, until=400, epochs=400))
    wait_for_epoch(workers)
    (tmp_path / "trial" / "state").rename(tmp_path / "gone")
    event = events_until_end(workers)[-1]
    assert event.kind == "blocked"
    assert "cannot write" in event.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kinds", "reason"),
    [
        ("Talking", ["epoch", "epoch", "done"], ""),
        ("Wrong", ["crashed"], "ValueError: first line"),
        ("Hungry", ["crashed"], "out of memory: no room for 3 TB"),
        ("HungryTorch", ["crashed"], "out of memory: "),
        ("Leaving", ["crashed"], "the worker ended with exit code 7"),
    ],
)
def test_networks_that_misbehave(workers, images, tmp_path, name, kinds, reason):
    workers.start(own_network(tmp_path / name, images, name))
    events = events_until_end(workers)
    assert [event.kind for event in events] == kinds, events[-1].reason
    assert events[-1].reason.startswith(reason)
    assert "\n" not in events[-1].reason
    assert workers.num_idle == 1


@pytest.mark.slow
def test_one_that_is_killed_is_replaced_and_closing_saves_the_state(workers, images, tmp_path):
    """Killed, closed, and used again: the run resumes where it was each time."""
    job = job_of(
        tmp_path / "trial", images, until=4000, epochs=4000, **{"training.checkpoint_seconds": 3600.0}
    )
    workers.start(job)
    wait_for_epoch(workers)
    os.kill(workers._processes[0].process.pid, signal.SIGKILL)
    events = events_until_end(workers)
    assert (events[-1].kind, workers.num_idle) == ("crashed", 1)
    assert "was killed (signal 9)" in events[-1].reason
    num_epochs = len(RunFolder(job.folder).history())
    assert num_epochs >= 1
    workers.start(job)
    assert wait_for_epoch(workers).record.epoch == num_epochs + 1

    process = workers._processes[0].process
    workers.close()
    assert process.returncode == 130
    assert workers.num_idle == 1
    _, state = RunFolder(job.folder).load_state()
    num_epochs = len(RunFolder(job.folder).history())
    assert state["num_epochs_done"] == num_epochs
    assert not list(job.folder.rglob("*.tmp"))

    time.sleep(0.2)  # the last words of the old process arrive, and are nobody's any more
    workers.start(job)
    assert wait_for_epoch(workers).record.epoch == num_epochs + 1
    assert workers.num_idle == 0
    workers.close()


def test_a_worker_ends_with_the_search():
    """Its input ends when the search is killed."""
    command = [sys.executable, "-m", "kilnet.tuning.backends.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == '{"kind": "ready"}\n'
        process.stdin.close()
        assert process.wait(30) == 1


def test_workers_that_never_start_are_no_fault_of_the_job(images, tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'no torch here' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    workers = LocalWorkers(1, 1, tmp_path / "logs")
    workers.start(job_of(tmp_path / "trial", images))
    told = "no worker can be started: the worker ended with exit code 3: no torch here"
    with pytest.raises(WorkerError, match=told) as error:
        for _ in range(200):
            assert workers.next_event(0.5) is None
    assert "worker-1.log" in str(error.value)
    workers.close()


@pytest.mark.slow
def test_two_workers_train_at_once_and_have_a_log_each(images, tmp_path):
    workers = LocalWorkers(2, 1, tmp_path / "logs")
    workers.start(job_of(tmp_path / "first", images))
    workers.start(job_of(tmp_path / "second", images))
    assert workers.num_idle == 0
    ends = [events_until_end(workers)[-1], events_until_end(workers)[-1]]
    assert {(event.job.name, event.kind) for event in ends} == {("first", "done"), ("second", "done")}
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["worker-1.log", "worker-2.log"]
    workers.close()
