"""Jobs and their way to a worker."""

from dataclasses import replace
from pathlib import Path

from kilnet.recipes.reading import load_config
from kilnet.tuning.backends.jobs import TrainingJob, job_from_line, job_to_line
from speed_jobs import TINY, speed_job


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
