"""A process that trains one job after another: `python -m kilnet.tuning.backends.worker`; see `workers.py`."""

import io
import json
import os
import queue
import sys
import threading
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.errors import BusyError, InterruptedRunError, KilnetError, StorageError
from kilnet.runs.evaluation import evaluate_classifier
from kilnet.runs.run import Run
from kilnet.storage import write_bytes
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.session import TrainingSession
from kilnet.tuning.shared_images import map_images

_SECONDS_BETWEEN_STEPS = 1.0


class _Channel:
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
    """Train what comes in on standard input until that ends."""
    channel = _Channel()
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    channel.send("ready")
    while True:
        job = jobs.get()
        try:
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
            channel.send("done")


def _listen(jobs: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(1)  # the search is gone; what was saved is whole at any moment


def _train(job: dict[str, Any], channel: _Channel) -> None:
    dataset, folder = _images(job["images"]), Path(job["folder"])
    config, own_models = RunConfig.model_validate(job["config"]), frozenset(job["own_models"])
    session = TrainingSession(dataset, config, folder, own_models=own_models)
    if not session.finished and len(session.history) < job["until"]:
        told = monotonic()
        for record in session:
            if isinstance(record, EpochRecord):
                channel.send("epoch", record=asdict(record))
                if record.epoch >= job["until"]:
                    break
            elif monotonic() - told >= _SECONDS_BETWEEN_STEPS:
                told = monotonic()
                _tell_step(record, channel)
    if job["judge"]:
        _judge(folder, dataset, own_models)


def _tell_step(record: StepRecord, channel: _Channel) -> None:
    channel.send("step", step=record.step, num_steps=record.num_steps)


def _judge(folder: Path, dataset: ImageDataset, own_models: frozenset[str]) -> None:
    """Write correct.npy: bool (num_validation,), whether the kept weights are right."""
    run = Run(folder)
    run.own_models = own_models
    evaluated = evaluate_classifier(run.classifier, dataset, "validation")
    content = io.BytesIO()
    np.save(content, evaluated.logits.argmax(1) == evaluated.images.labels)
    write_bytes(folder / "correct.npy", content.getvalue())


@lru_cache(maxsize=2)
def _images(folder: str) -> ImageDataset:
    return map_images(Path(folder))


def _is_out_of_memory(error: Exception) -> bool:
    # torch raises a plain RuntimeError where a CPU has no more memory.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


if __name__ == "__main__":
    main()
