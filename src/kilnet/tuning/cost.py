"""How much work a job is, so that the longest can begin first."""

from functools import cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from kilnet import models
from kilnet.config import ModelConfig
from kilnet.errors import KilnetError
from kilnet.tuning.backends.processes import Job
from kilnet.tuning.shared_images import map_images


def longest_first(jobs: list[Job]) -> list[Job]:
    """Sort jobs of equal numbers of epochs by the arithmetic of one, the most first; equals keep their order.

    Workers that take the longest job that is left end within a third of the shortest possible time (Graham, 1969,
    "Bounds on multiprocessing timing anomalies"): none is left alone with a large network at the end.
    """
    return sorted(
        jobs, key=lambda job: -_operations(job.config.model.model_dump_json(), job.images, job.own_models)
    )


@cache
def _operations(model_json: str, folder: Path, own_models: frozenset[str]) -> int:
    images = map_images(folder)
    try:
        config = ModelConfig.model_validate_json(model_json)
        model = models.build(config, images.image_shape, len(images.classes), own_models)
    except KilnetError:
        return 0  # a worker will say why
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *images.image_shape))
    return int(counter.get_total_flops()) * len(images.train)
