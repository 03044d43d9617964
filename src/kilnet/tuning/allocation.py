"""What all trials of a search share: precision and layout, how many workers, and how many threads each has."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from kilnet import hardware, models
from kilnet.data.dataset import ImageDataset
from kilnet.storage import recall, remember
from kilnet.tuning.backends.jobs import SpeedJob
from kilnet.tuning.backends.processes import LocalWorkers
from kilnet.tuning.halving import in_cohorts
from kilnet.tuning.search_config import SearchConfig

_MAX_WORKERS = 8  # each is a process with torch in it: some 300 MB before the first image
_MIN_GAIN = 1.05  # one process is simpler than two, which therefore have to be clearly faster
SECONDS_PER_SPEED = 1.5
_POLL_SECONDS = 0.5
_KEPT = "workers.json"  # in the cache folder


@dataclass(frozen=True)
class Allocation:
    """The workers of a search.

    Attributes:
        num_workers: processes that train at the same time.
        num_threads: of each; 0 where each machine has its own.
        reason: what was measured, for the user.
    """

    num_workers: int
    num_threads: int
    reason: str

    def __str__(self) -> str:
        workers = f"{self.num_workers} worker{'s' if self.num_workers > 1 else ''}"
        each = f" with {_threads(self.num_threads)} each" if self.num_threads else ""
        return f"{workers}{each} ({self.reason})"


Measure = Callable[[int | None, SpeedJob, Path], Allocation]  # as `allocate`


def settle(
    config: SearchConfig,
    workers: int | None,
    dataset: ImageDataset,
    own_models: frozenset[str],
    logs: Path,
    measure: Measure | None = None,
) -> tuple[SearchConfig, Allocation]:
    """Decide precision, layout and threads for all trials at once, so that they can be compared and repeated.

    The first trial stands for all where something is measured. What the configuration has decided stays.

    Args:
        config: of a search.
        workers, logs: as for `allocate`.
        dataset: what the trials train on.
        own_models: see `kilnet.models.complete`.
        measure: what allocates workers elsewhere; by default `allocate`.

    Returns:
        The configuration with nothing left open, and the workers of this machine.
    """
    shape, num_classes = dataset.image_shape, len(dataset.classes)
    first = config.run_of(config.parsed_space().corners()[0], own_models=own_models)
    network = models.build(first.model, shape, num_classes, own_models)
    images = torch.rand(first.training.batch_size, *shape)
    decided = hardware.choose(first.hardware, network, first.model, images, num_classes).record()
    decided = decided.model_copy(update={"threads": first.hardware.threads})
    job = SpeedJob(
        name="speed",
        config=first.model_copy(update={"hardware": decided}),
        image_shape=shape,
        num_classes=num_classes,
        seconds=SECONDS_PER_SPEED,
        own_models=own_models,
    )
    allocation = (measure or allocate)(workers, job, logs)
    decided = decided.model_copy(update={"threads": allocation.num_threads})
    config = config.model_copy(update={"run": config.run.model_copy(update={"hardware": decided})})
    return in_cohorts(config, len(dataset.train), allocation.num_workers), allocation


def allocate(workers: int | None, job: SpeedJob, logs: Path) -> Allocation:
    """Divide this machine's threads among workers.

    Args:
        workers: how many; None measures, and keeps the answer for this machine and network.
        job: how fast training is with one worker; `hardware.threads` above 0 is what each gets.
        logs: folder for what workers write on standard error.

    Raises:
        WorkerError: no worker can be started.
    """
    config, cores = job.config, hardware.available_threads()
    threads = config.hardware.threads
    if workers is not None:
        return Allocation(workers, threads or max(1, cores // workers), "as asked for")
    if threads:
        return Allocation(max(1, cores // threads), threads, "threads as configured")
    sizes = [2**power for power in range(8) if 2**power <= min(cores, _MAX_WORKERS)]
    if hardware.resolve_device(config.hardware.device) != "cpu" or len(sizes) == 1:
        return Allocation(1, cores, "one device")
    question = [config.model.model_dump(), config.hardware.model_dump(), config.training.batch_size]
    key = json.dumps([hardware.machine(), torch.__version__, *question, job.image_shape, job.num_classes])
    with suppress(TypeError):  # nothing is kept, or something else
        return Allocation(**recall(_KEPT, key) or {})
    allocation = _measure(sizes, cores, job, logs)
    remember(_KEPT, key, asdict(allocation))
    return allocation


def _measure(sizes: Sequence[int], cores: int, job: SpeedJob, logs: Path) -> Allocation:
    workers = LocalWorkers(max(sizes), cores, logs)
    try:
        _speed(workers, replace(job, seconds=0.0), max(sizes), 1)  # until all have started
        speeds = {size: _speed(workers, job, size, cores // size) for size in sizes}
    finally:
        workers.close()
    best = max(sizes, key=lambda size: speeds[size] * (_MIN_GAIN if size == 1 else 1))
    measured = ", ".join(f"{n} with {_threads(cores // n)} {speed:,.0f}" for n, speed in speeds.items())
    return Allocation(best, cores // best, f"images/s of all workers: {measured}")


def _speed(workers: LocalWorkers, job: SpeedJob, num_workers: int, num_threads: int) -> float:
    """Return images a second of so many workers together; those that fail add nothing."""
    own = job.config.hardware.model_copy(update={"threads": num_threads})
    job = replace(job, config=job.config.model_copy(update={"hardware": own}))
    for _ in range(num_workers):
        workers.start(job)
    speeds: list[float] = []
    while len(speeds) < num_workers:
        event = workers.next_event(_POLL_SECONDS)
        if event is not None and event.is_end:
            speeds.append(event.images_per_second)
    return sum(speeds)


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"
