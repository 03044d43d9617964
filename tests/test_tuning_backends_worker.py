"""A worker as a process: jobs go in as lines of JSON, and nothing but lines of JSON comes out."""

import json
import subprocess
import sys

import pytest

from kilnet.recipes.reading import load_config
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.backends.jobs import SpeedJob, TrainingJob, job_to_line
from kilnet.tuning.backends.shared_images import share_images
from kilnet.tuning.search_folder import early_records
from small_runs import SMALL, make_dataset


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    share_images(make_dataset(), folder)
    return folder


def test_jobs_are_done_one_after_another_and_a_refused_one_is_no_end(images, tmp_path):
    config = load_config(settings=SMALL)
    wide = load_config(settings=SMALL | {"model.width": 0})
    options = {"images": images, "until": 1, "score_validation": True}
    jobs = [
        SpeedJob(name="speed", config=config, image_shape=(1, 8, 8), num_classes=2, seconds=0.01),
        TrainingJob(name="bad", config=wide, folder=tmp_path / "bad", **options),
        TrainingJob(name="good", config=config, folder=tmp_path / "good", **options),
    ]
    words = [sys.executable, "-m", "kilnet.tuning.backends.worker"]
    events = []
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:

        def told():
            events.append(json.loads(worker.stdout.readline()))
            return events[-1]["kind"]

        assert told() == "ready"
        for job in jobs:
            worker.stdin.write(job_to_line(job) + "\n")
            worker.stdin.flush()
            while told() in ("step", "epoch"):
                pass
        worker.stdin.close()
        assert worker.wait(60) == 1, "without a search there is nothing to do"
        assert worker.stdout.read() == ""
    speed, failed, epoch, done = [event for event in events if event["kind"] not in ("ready", "step")]
    assert (speed["kind"], failed["kind"], epoch["kind"], done["kind"]) == ("done", "failed", "epoch", "done")
    assert speed["images_per_second"] > 0
    assert failed["reason"].startswith("model.width = 0")
    assert epoch["record"]["epoch"] == 1
    assert [record.epoch for record in RunFolder(tmp_path / "good").history()] == [1]
    assert (tmp_path / "good" / "correct.npy").exists()


def test_a_part_of_the_first_epoch_and_then_the_rest_are_the_whole(images, tmp_path):
    config = load_config(settings=SMALL | {"training.batch_size": 10, "training.epochs": 2})

    def job(folder, until):
        return TrainingJob(name="a", config=config, folder=tmp_path / folder, images=images, until=until)

    done = work([job("parts", 0.3), job("parts", 0.6), job("parts", 0.6), job("parts", 2), job("whole", 2)])
    assert [kind for kind in done if kind != "step"] == ["done"] * 3 + ["epoch", "epoch", "done"] * 2
    assert [record.epoch for record in early_records(tmp_path / "parts")] == [0.3, 0.6]
    assert not early_records(tmp_path / "whole")
    parts, whole = (RunFolder(tmp_path / name) for name in ("parts", "whole"))
    assert parts.history() == whole.history()
    assert parts.weights_path.read_bytes() == whole.weights_path.read_bytes()


def work(jobs):
    """Let a worker do jobs one after another; returns the kinds of its events."""
    words = [sys.executable, "-m", "kilnet.tuning.backends.worker"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        kinds = [json.loads(worker.stdout.readline())["kind"]]
        assert kinds.pop() == "ready"
        for number, job in enumerate(jobs):
            worker.stdin.write(job_to_line(job) + "\n")
            worker.stdin.flush()
            while kinds.count("done") <= number:
                kinds.append(json.loads(worker.stdout.readline())["kind"])
                assert kinds[-1] in ("step", "epoch", "done")
        worker.stdin.close()
        worker.wait(60)
    return kinds
