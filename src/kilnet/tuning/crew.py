"""How many workers, with how many threads each: measured with a few steps of the search's own network."""

import json
import os
import subprocess
import sys
from collections.abc import Set
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any, cast

import torch

from kilnet import hardware, models
from kilnet.config import RunConfig
from kilnet.hardware import Settings
from kilnet.storage import recall, remember
from kilnet.tuning.backends.processes import python_path

_MAX_WORKERS = 8  # each is a process with torch in it: some 300 MB before the first image
_MIN_GAIN = 1.05  # one process is simpler than two: it makes way for a clear gain only
_PROBE_SECONDS = 1.5
_MAX_IMAGES = 128


@dataclass(frozen=True)
class Crew:
    """Workers of a search.

    Attributes:
        num_workers: processes that train at the same time.
        num_threads: of each.
        reason: what was measured, for the user.
    """

    num_workers: int
    num_threads: int
    reason: str

    def __str__(self) -> str:
        workers = f"{self.num_workers} worker{'s' if self.num_workers > 1 else ''}"
        return f"{workers} with {_threads(self.num_threads)} each ({self.reason})"


def choose_crew(
    num_workers: int | None,
    config: RunConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    own_models: Set[str] = frozenset(),
) -> Crew:
    """Divide this machine's threads among workers.

    Args:
        num_workers: as the user wants it; None measures, and keeps the answer for this machine and network.
        config: of a trial, with its precision and layout; `hardware.threads` above 0 is what each worker gets.
        image_shape: (channels, height, width).
        num_classes: of the images.
        own_models: see `kilnet.models.complete`.
    """
    cores = hardware.available_threads()
    if num_workers is not None:
        threads = config.hardware.threads or max(1, cores // num_workers)
        return Crew(num_workers, threads, "as asked for")
    if config.hardware.threads:
        return Crew(
            max(1, cores // config.hardware.threads), config.hardware.threads, "threads as configured"
        )
    sizes = [2**power for power in range(8) if 2**power <= min(cores, _MAX_WORKERS)]
    if hardware.resolve_device(config.hardware.device) != "cpu" or len(sizes) == 1:
        return Crew(1, cores, "one device")
    question = [config.model.model_dump(), config.hardware.model_dump(), config.training.batch_size]
    key = json.dumps([hardware.machine(), torch.__version__, *question, image_shape, num_classes])
    with suppress(TypeError):  # nothing is kept, or something else
        return Crew(**recall("crews.json", key) or {})
    task = {
        "config": config.model_dump(exclude_none=True),
        "image_shape": image_shape,
        "num_classes": num_classes,
        "own_models": sorted(own_models),
    }
    crew = _measure(sizes, cores, task)
    remember("crews.json", key, asdict(crew))
    return crew


def _measure(sizes: list[int], cores: int, task: dict[str, Any]) -> Crew:
    probes = [_start_probe(task) for _ in range(max(sizes))]
    try:
        for probe in probes:
            _answer(probe)  # it is ready
        speed = {size: _speed(probes[:size], cores // size) for size in sizes}
    finally:
        for probe in probes:
            probe.kill()
            probe.communicate()
    best = max(sizes, key=lambda size: speed[size] * (_MIN_GAIN if size == 1 else 1))
    tried = ", ".join(f"{size} with {_threads(cores // size)} {rate:,.0f}" for size, rate in speed.items())
    return Crew(best, cores // best, f"images/s of all workers: {tried}")


def _start_probe(task: dict[str, Any]) -> "subprocess.Popen[str]":
    probe = subprocess.Popen(
        [sys.executable, "-P", "-m", "kilnet.tuning.crew"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | python_path() | {"OMP_WAIT_POLICY": "passive"},  # as workers have it
        text=True,
    )
    _ask(probe, json.dumps(task))
    return probe


def _speed(probes: list["subprocess.Popen[str]"], num_threads: int) -> float:
    for probe in probes:
        _ask(probe, str(num_threads))
    return sum(float(_answer(probe)) for probe in probes)


def _ask(probe: "subprocess.Popen[str]", line: str) -> None:
    stream = cast("IO[str]", probe.stdin)
    with suppress(OSError):  # it has died, and answers nothing
        stream.write(line + "\n")
        stream.flush()


def _answer(probe: "subprocess.Popen[str]") -> str:
    return cast("IO[str]", probe.stdout).readline() or "0"


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


def _probe() -> None:
    """Be one worker of the measurement: for each number of threads that comes in, tell images a second."""
    task = json.loads(sys.stdin.readline())
    config = RunConfig.model_validate(task["config"])
    shape, num_classes = tuple(task["image_shape"]), task["num_classes"]
    model = models.build(config.model, shape, num_classes, frozenset(task["own_models"]))
    images = torch.rand(min(config.training.batch_size, _MAX_IMAGES), *task["image_shape"])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        own = config.hardware
        settings = Settings("cpu", own.precision, own.layout, int(line))
        rate = hardware.measure_speed(settings, model, images, task["num_classes"], _PROBE_SECONDS)
        sys.stdout.write(f"{rate}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _probe()
