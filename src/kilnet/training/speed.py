"""How long the steps and the end of a training take here, measured in a second or two."""

import copy
import time

import torch
from torch import nn

from kilnet import hardware, models
from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ModelError
from kilnet.hardware import Settings
from kilnet.inference import forward
from kilnet.training.optim import make_optimizer
from kilnet.training.plan import FACTORS, Speed
from kilnet.training.resolution import shrink, size_at

_NUM_IMAGES = 64  # the speed at hundreds is nearly the same, the wait is not
_SECONDS = 0.2  # of each measurement, if one step is not longer


def measure(
    config: RunConfig,
    model: nn.Module,
    settings: Settings,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
) -> Speed:
    """Time a network on the first of the training images; it is left as it was.

    Forward and backward passes grow with the batch, the optimiser's step does not: they are measured apart.
    """
    num_images, num_classes = len(dataset.train), len(dataset.classes)
    pixels = torch.from_numpy(dataset.train.images[:_NUM_IMAGES].copy())
    channels, height, width = dataset.image_shape
    image_seconds = {}
    for factor in FACTORS:
        size = size_at([(1.0, factor)], 0.0, height, width)
        try:
            models.prove(copy.deepcopy(model), config.model.name, (channels, *size), num_classes)
        except ModelError:  # a network for images of one size
            continue
        images = preprocessing(shrink(pixels, *size))
        image_seconds[factor] = 1 / hardware.measure_speed(settings, model, images, num_classes, _SECONDS)
    num_seen = len(dataset.validation) + min(config.training.batch_norm_images, num_images)
    end_seconds = num_seen * _inference_seconds(model, settings, pixels, preprocessing)
    return Speed(image_seconds, _optimizer_seconds(config, model, settings), end_seconds)


def _optimizer_seconds(config: RunConfig, model: nn.Module, settings: Settings) -> float:
    model = settings.place(copy.deepcopy(model))
    optimizer = make_optimizer(config.optimizer, model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()  # makes its moments
    hardware.synchronise(settings.device)
    times = []
    for _ in range(3):  # short, so that one disturbance would be most of it
        start = time.perf_counter()
        optimizer.step()
        hardware.synchronise(settings.device)
        times.append(time.perf_counter() - start)
    return min(times)


def _inference_seconds(
    model: nn.Module, settings: Settings, pixels: torch.Tensor, preprocessing: Preprocessing
) -> float:
    """Return the seconds for one image."""
    model = settings.place(copy.deepcopy(model))
    forward.logits(model, pixels, preprocessing, settings)  # warm-up
    start = time.perf_counter()
    forward.logits(model, pixels, preprocessing, settings).cpu()
    return (time.perf_counter() - start) / len(pixels)
