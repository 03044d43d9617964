"""Jobs and their way to a worker."""

from dataclasses import replace
from pathlib import Path

import pytest

from kilnet import hardware
from kilnet.recipes.reading import load_config
from kilnet.tuning.backends.jobs import SpeedJob, TrainingJob, job_from_line, job_to_line

TINY = {"model.name": "ConfigNet", "model.c1": 2, "model.c2": 4, "model.l1": 8, "training.batch_size": 20}


FIXED = {"hardware.device": "cpu", "hardware.precision": "fp32", "hardware.layout": "contiguous"}


def speed_job(**settings):
    config = load_config(settings={**TINY, **FIXED, **settings})
    return SpeedJob(name="speed", config=config, image_shape=(1, 12, 12), num_classes=3, seconds=0.2)


@pytest.fixture(autouse=True)
def four_threads(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "available_threads", lambda: 4)
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "cache"))


def test_a_job_is_the_same_after_its_way_to_a_worker():
    config = load_config(settings={**TINY, "optimizer.lr": 0.1 + 0.2, "training.patience": None})
    own = frozenset({"mine:net", "mine:other"})
    training = TrainingJob(
        name="trial 1",
        config=config,
        folder=Path("trials/a b"),
        images=Path("images"),
        until=3,
        score_validation=True,
        own_models=own,
    )
    for job in (training, replace(speed_job(), own_models=own)):
        line = job_to_line(job)
        assert "\n" not in line
        assert job_from_line(line) == job
