"""Jobs that wait for a worker, the longest first."""

import heapq
from collections.abc import Container, Iterable
from functools import cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from kilnet import models
from kilnet.config import ModelConfig
from kilnet.errors import KilnetError
from kilnet.tuning.backends.jobs import TrainingJob, job_from_line, job_to_line
from kilnet.tuning.backends.shared_images import map_images


class JobQueue:
    """Jobs of equal numbers of epochs by the arithmetic of one, the most first; equals keep their order.

    Workers that take the longest job that is left end within a third of the shortest possible time (Graham, 1969,
    "Bounds on multiprocessing timing anomalies"): no worker is left with a large network at the end.
    """

    def __init__(self, jobs: Iterable[TrainingJob] = ()) -> None:
        self._places: dict[tuple[str, float], tuple[int, int]] = {}
        self._heap: list[tuple[tuple[int, int], int, str, str]] = []
        self._num_added = 0
        for job in jobs:
            self.add(job)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, job: TrainingJob) -> None:
        """Let a job wait; one that was there before gets its old place among equals."""
        place = self._places.setdefault((job.name, job.until), (-_operations(job), len(self._places)))
        line = job_to_line(job)  # as an object it takes ten times as much memory
        heapq.heappush(self._heap, (place, self._num_added, job.name, line))
        self._num_added += 1

    def pop(self, running: Container[str] = ()) -> TrainingJob | None:
        """Return the longest job, and forget it; those of a name that is running stay. None where there is no other."""
        stay = []
        while self._heap and self._heap[0][2] in running:
            stay.append(heapq.heappop(self._heap))
        line = heapq.heappop(self._heap)[3] if self._heap else None
        for entry in stay:
            heapq.heappush(self._heap, entry)
        return None if line is None else cast("TrainingJob", job_from_line(line))


def _operations(job: TrainingJob) -> int:
    return _counted(job.config.model.model_dump_json(), job.images, job.own_models)


@cache
def _counted(model_json: str, folder: Path, own_models: frozenset[str]) -> int:
    images = map_images(folder)
    try:
        config = ModelConfig.model_validate_json(model_json)
        model = models.build(config, images.image_shape, len(images.classes), own_models)
    except KilnetError:
        return 0  # a worker will say why
    counted = 0

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal counted
        counted += output.numel() * cast("nn.Linear", layer).weight[0].numel()

    for layer in model.modules():  # torch's own counter takes seconds to import what it needs
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    with torch.no_grad():
        model.eval()(torch.zeros(1, *images.image_shape))
    return counted * len(images.train)
