"""A process that does one job after another: `python -m kilnet.tuning.backends.worker`."""

import json
import os
import queue
import sys
import threading
from dataclasses import asdict
from functools import lru_cache
from time import monotonic
from typing import Any

import torch

from kilnet import hardware, models
from kilnet.errors import BusyError, InterruptedRunError, KilnetError, StorageError
from kilnet.hardware import Settings
from kilnet.runs.evaluation import evaluate_classifier
from kilnet.runs.run import Run
from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.training.session import TrainingSession
from kilnet.tuning.backends.jobs import SpeedJob, TrainingJob, job_from_line
from kilnet.tuning.backends.shared_images import map_images, write_array
from kilnet.tuning.search_folder import add_early, correct_path, early_records

_SECONDS_BETWEEN_STEPS = 1.0
_MAX_TIMED_IMAGES = 128  # in a batch of a `SpeedJob`
_map_images = lru_cache(maxsize=2)(map_images)


class Channel:
    """Messages to the search; whatever else writes on standard output goes to the log."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, kind: str, **content: Any) -> None:
        try:
            self._stream.write(json.dumps({"kind": kind, **content}) + "\n")
            self._stream.flush()
        except OSError:
            os._exit(1)  # nobody listens any more


def main() -> None:
    """Do the jobs that come in on standard input, until that ends."""
    channel = Channel()
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    channel.send("ready")
    while True:
        line = jobs.get()
        try:
            job, result = job_from_line(line), {}
            if isinstance(job, SpeedJob):
                result["images_per_second"] = _images_per_second(job)
            else:
                _train(job, channel)
        except InterruptedRunError:
            sys.exit(130)
        except StorageError as error:
            channel.send("blocked", reason=str(error))
        except BusyError as error:
            channel.send("crashed", reason=str(error))
        except KilnetError as error:
            channel.send("failed", reason=str(error))
        except Exception as error:  # a network or a library may raise anything
            if _is_out_of_memory(error):
                sys.exit(f"out of memory: {_first_line(error)}")  # what is left of it may be in pieces
            channel.send("crashed", reason=f"{type(error).__name__}: {_first_line(error)}")
        else:
            channel.send("done", **result)


def _listen(jobs: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(1)  # the search is gone; what was saved is whole at any time


def _train(job: TrainingJob, channel: Channel) -> None:
    dataset = _map_images(job.images)
    early = job.until if job.until < 1 else None
    session = TrainingSession(dataset, job.config, job.folder, own_models=job.own_models, early=early)
    seen: list[float] = [record.epoch for record in session.loop.history]
    seen += [record.epoch for record in early_records(job.folder)]
    if not session.loop.finished and max(seen, default=0) < job.until:
        sent = monotonic()
        for record in session:
            if isinstance(record, EpochRecord):
                channel.send("epoch", record=asdict(record))
                if record.epoch >= job.until:
                    break
            elif isinstance(record, EarlyRecord):
                add_early(job.folder, record)
                break
            elif monotonic() - sent >= _SECONDS_BETWEEN_STEPS:
                sent = monotonic()
                channel.send("step", step=record.step, num_steps=record.num_steps)
    if job.score_validation:
        run = Run(job.folder)
        run.own_models = job.own_models
        evaluated = evaluate_classifier(run.classifier, dataset, "validation")
        right = evaluated.logits.argmax(1) == evaluated.images.labels
        if job.config.training.select == "macro-recall":
            support = evaluated.evaluation.support
            right = right * (len(right) / (len(support) * support[evaluated.images.labels]))
        write_array(correct_path(job.folder), right)


def _images_per_second(job: SpeedJob) -> float:
    model = models.build(job.config.model, job.image_shape, job.num_classes, job.own_models)
    images = torch.rand(min(job.config.training.batch_size, _MAX_TIMED_IMAGES), *job.image_shape)
    own = job.config.hardware
    settings = Settings(device="cpu", precision=own.precision, layout=own.layout, threads=own.threads)
    return hardware.measure_speed(settings, model, images, job.num_classes, job.seconds)


def _is_out_of_memory(error: Exception) -> bool:
    # torch raises a plain RuntimeError where a CPU has no more memory.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


if __name__ == "__main__":
    main()
