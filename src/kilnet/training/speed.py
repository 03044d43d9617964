"""How fast a network trains on this machine: measured once, and kept in the cache while the first steps agree."""

import copy
import json
import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from kilnet import hardware, models
from kilnet.config import RunConfig, TrainingConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ModelError
from kilnet.hardware import Settings
from kilnet.inference import forward
from kilnet.inference.feature_pass import feature_seconds
from kilnet.models.pretrained import load_pretrained
from kilnet.models.weight_gradient import use_products
from kilnet.storage import recall, remember
from kilnet.training import first_stage
from kilnet.training.initial_model import begins_pretrained
from kilnet.training.optim import by_depth, freeze, make_optimizer
from kilnet.training.resolution import shrink, size_at
from kilnet.training.schedule import NUM_FIRST_STEPS, SPARE_SECONDS

_FACTORS = (1.0, 0.75, 0.5)  # parts of the side at which a network's speed has to be known
_GRADIENTS: tuple[Literal["torch", "product"], ...] = ("torch", "product")
_SECONDS = 0.2  # of each measurement, if one step is not longer
_FILE = "speeds.json"
_MOST_DAYS = 30.0  # libraries, drivers and machines change without a new name
_AGREEMENT = 1.5  # times as fast or as slow
_AROUND_CURVES_SECONDS = 0.7  # for the program to start and to end
_SPARE_OF_CURVES = 0.2  # drawing them may take longer than before


@dataclass(frozen=True)
class Speed:
    """What was measured of a network.

    Attributes:
        image_seconds: forward and backward pass of one image, by part of the images' side, as far as the network takes
            such images.
        optimizer_seconds: what a step takes whatever the size of its batch.
        end_seconds: validating at the end.
        first_seconds: fitting the last layer of a pretrained network before the first step.
        weight_gradient: with which of the ways in `HardwareConfig` this was measured, the faster where that is open.
    """

    image_seconds: dict[float, float]
    optimizer_seconds: float
    end_seconds: float
    first_seconds: float = 0.0
    weight_gradient: Literal["torch", "product"] = "torch"

    def step_seconds(self, training: TrainingConfig, num_images: int, factor: float = 1.0) -> float:
        """Return how long a step takes, on images of a part of their side."""
        return training.batch_size_for(num_images) * self.image_seconds[factor] + self.optimizer_seconds

    def pass_seconds(self, training: TrainingConfig, num_images: int) -> float:
        """Return how long a pass takes, averaged over the time of a run.

        With resolutions of the user's own, which were not measured, all count as full size.
        """
        course = training.low_resolution
        if not all(factor in self.image_seconds for _, factor in course):
            course = ()
        num_steps = -(-num_images // training.batch_size_for(num_images))
        passes_per_second, since = 0.0, 0.0
        for until, factor in (*course, (1.0, 1.0)):
            seconds = num_images * self.image_seconds[factor] + num_steps * self.optimizer_seconds
            passes_per_second += (until - since) / seconds
            since = until
        return 1 / passes_per_second


@dataclass(frozen=True)
class KeptSpeed:
    """What is kept of a network's speed.

    Attributes:
        speed: as measured; what validating takes is that of the latest run, if there was one.
        measured_at: seconds since 1970.
        steps_ratio: how long the first steps of a run took, as a multiple of what the speed says; None before one.
    """

    speed: Speed
    measured_at: float
    steps_ratio: float | None = None

    def agrees(self, ratio: float | None) -> bool:
        """Whether a run whose first steps took this multiple of what the speed says goes as fast as those before."""
        if not ratio or not self.steps_ratio:
            return True
        return 1 / _AGREEMENT <= ratio / self.steps_ratio <= _AGREEMENT


_KEPT: TypeAdapter[KeptSpeed] = TypeAdapter(KeptSpeed)


def speed_key(config: RunConfig, settings: Settings, dataset: ImageDataset) -> str | None:
    """Return under which name a network's speed on this machine is kept; None where it is not.

    With pretrained weights it is not: what the features take depends on how many of them are in the cache.
    """
    if begins_pretrained(config):
        return None
    network = [config.model.model_dump(), config.optimizer.model_dump(), list(dataset.image_shape)]
    ending = [len(dataset.classes), _num_seen(config, dataset)]
    machine = [hardware.machine(settings.device), torch.__version__, settings.record().model_dump()]
    machine.append(config.hardware.weight_gradient)
    return json.dumps([*machine, *network, *ending])


def recall_speed(key: str, now: float | None = None) -> KeptSpeed | None:
    """Return what is kept of a network's speed, unless it is damaged or older than a month."""
    now = time.time() if now is None else now
    with suppress(ValidationError):
        kept = _KEPT.validate_python(recall(_FILE, key))
        speed = kept.speed
        is_sound = 1.0 in speed.image_seconds and all(
            0 < each < math.inf for each in speed.image_seconds.values()
        )
        is_sound &= 0 <= speed.optimizer_seconds < math.inf and 0 <= speed.end_seconds < math.inf
        if is_sound and 0 <= now - kept.measured_at <= _MOST_DAYS * 86400:
            return kept
    return None


def keep_speed(key: str, kept: KeptSpeed) -> None:
    """Keep what was measured, where the cache can be written."""
    remember(_FILE, key, asdict(kept))


def steps_ratio(
    speed: Speed, training: TrainingConfig, num_images: int, seconds: list[float]
) -> float | None:
    """Return how long the first steps of a run took, as a multiple of what a speed says; None for too few.

    Args:
        speed: of the network.
        training: how it trains, for its batch and its resolution at the beginning.
        num_images: to train on.
        seconds: of each of the first steps.
    """
    factor = training.low_resolution[0][1] if training.low_resolution else 1.0
    if len(seconds) < NUM_FIRST_STEPS or factor not in speed.image_seconds:
        return None
    return median(seconds[1:NUM_FIRST_STEPS]) / speed.step_seconds(training, num_images, factor)


def with_end(kept: KeptSpeed, ratio: float | None, end_seconds: float) -> KeptSpeed:
    """Return what is to be kept after a run, in which validating and saving took so long."""
    speed = replace(kept.speed, end_seconds=end_seconds)
    return replace(kept, speed=speed, steps_ratio=kept.steps_ratio or ratio)


def ending_seconds() -> float:
    """Return what a program that trains takes around its training: to start, to draw the curves, to end."""
    curves = recall(_FILE, _curves_key())
    if not isinstance(curves, float) or not 0 < curves < 60:
        return SPARE_SECONDS
    return _AROUND_CURVES_SECONDS + (1 + _SPARE_OF_CURVES) * curves


def keep_curves_seconds(seconds: float) -> None:
    """Keep how long the learning curves took to draw, with all that is imported for that."""
    remember(_FILE, _curves_key(), float(seconds))


def _curves_key() -> str:
    return json.dumps([hardware.machine(), "learning curves"])


def measure_network(
    config: RunConfig,
    model: nn.Module,
    settings: Settings,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
) -> Speed:
    """Time a network on the first of the training images; it is left as it was.

    Forward and backward passes grow with the batch, the optimiser's step does not: they are measured apart.
    """
    num_classes = len(dataset.classes)
    channels, height, width = dataset.image_shape
    pixels = torch.from_numpy(dataset.train.images[: hardware.probe_size(height, width)].copy())
    is_pretrained = begins_pretrained(config)
    is_open = config.hardware.weight_gradient == "auto" and settings.device == "cpu" and not is_pretrained
    networks = {
        kind: copy.deepcopy(model) for kind in (_GRADIENTS if is_open else (settings.weight_gradient,))
    }
    if "product" in networks:
        use_products(networks["product"])
    prepare = None if config.training.frozen == "nothing" else forward.freeze_batch_norm
    for network in networks.values():
        freeze(network, config.training.frozen)
    image_seconds: dict[str, dict[float, float]] = {kind: {} for kind in networks}
    for factor in (1.0,) if is_pretrained else _FACTORS:
        size = size_at([(1.0, factor)], 0.0, height, width)
        try:
            models.verify_shapes(copy.deepcopy(model), config.model.name, (channels, *size), num_classes)
        except ModelError:  # a network for images of one size
            continue
        images = preprocessing(shrink(pixels, *size))
        for kind, network in networks.items():
            per_second = hardware.measure_speed(
                settings, network, images, num_classes, _SECONDS, prepare=prepare
            )
            image_seconds[kind][factor] = 1 / per_second
    gradient = min(networks, key=lambda kind: sum(image_seconds[kind].values()))
    network = settings.place(copy.deepcopy(model))
    forward.logits(network, pixels, preprocessing, settings)  # warm-up
    start = time.perf_counter()
    forward.logits(network, pixels, preprocessing, settings).cpu()
    inference_seconds = (time.perf_counter() - start) / len(pixels)
    num_seen = _num_seen(config, dataset)
    first_seconds = 0.0
    if is_pretrained:
        load_pretrained(network, config.model)
        if num_missing := first_stage.num_missing(network, dataset, preprocessing, settings):
            first_seconds = num_missing * feature_seconds(network, preprocessing, settings, pixels)
    return Speed(
        image_seconds=image_seconds[gradient],
        optimizer_seconds=_optimizer_seconds(config, model, settings),
        end_seconds=num_seen * inference_seconds,
        first_seconds=first_seconds,
        weight_gradient=gradient,
    )


def _num_seen(config: RunConfig, dataset: ImageDataset) -> int:
    """Return how many images a network sees when it is validated, those for batch norm among them."""
    num_measured = min(config.training.batch_norm_images, len(dataset.train))
    return len(dataset.validation) + (num_measured if config.training.frozen == "nothing" else 0)


def _optimizer_seconds(config: RunConfig, model: nn.Module, settings: Settings) -> float:
    model = settings.place(copy.deepcopy(model))
    optimizer = make_optimizer(config.optimizer, by_depth(model, config.optimizer.layer_decay))
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
