"""What fits into a budget: which network, how many passes over the images, at which resolutions."""

import copy
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kilnet import hardware, models
from kilnet.config import RunConfig, TrainingConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ConfigError, ModelError
from kilnet.hardware import Settings
from kilnet.inference import forward
from kilnet.models.pretrained import load_pretrained
from kilnet.recipes.changes import change
from kilnet.recipes.reading import written_duration
from kilnet.training import first_stage
from kilnet.training.initial_model import begins_pretrained, choose_settings
from kilnet.training.optim import by_depth, make_optimizer
from kilnet.training.resolution import shrink, size_at
from kilnet.training.schedule import training_seconds

# Widths of FastNet to choose from, the best for long runs first, and how many passes make one of them worth its time
# (docs/experiments.md).
_WIDTHS = ((64, 256, 256), (48, 160, 160), (32, 96, 96), (24, 48, 48))
_ENOUGH_PASSES = 4.0
# Until when to train at which part of the side, for runs of fewer passes at full size than the first number.
_LOW_RESOLUTIONS = (
    (2.5, ((0.2, 0.5), (0.5, 0.75))),
    (6.0, ((0.1, 0.5), (0.35, 0.75))),
    (16.0, ((0.3, 0.75),)),
)
# Mirroring makes sense for photographs, but not for letters, digits and scans.
_WITHOUT_FLIPS = {"augment.horizontal_flip": 0.0, "augment.alternate_flips": False, "views.mirror": False}
_FACTORS = (1.0, 0.75, 0.5)  # parts of the side at which a network's speed has to be known
_SECONDS = 0.2  # of each measurement, if one step is not longer


@dataclass(frozen=True)
class Speed:
    """What was measured of a network.

    Attributes:
        image_seconds: forward and backward pass of one image, by part of the images' side, as far as the network takes
            such images.
        optimizer_seconds: what a step takes whatever the size of its batch.
        end_seconds: validating at the end.
        first_seconds: fitting the last layer of a pretrained network before the first step.
    """

    image_seconds: dict[float, float]
    optimizer_seconds: float
    end_seconds: float
    first_seconds: float = 0.0

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
class Plan:
    """What was planned, and from what.

    Attributes:
        num_passes: over the training images, about.
        step_seconds: of one step at full size.
        images_per_second: in such steps.
        end_seconds: validating at the end.
    """

    num_passes: float
    step_seconds: float
    images_per_second: float
    end_seconds: float


def plan_run(
    config: RunConfig,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    spent: Callable[[], float],
    own_models: Set[str],
) -> tuple[RunConfig, Plan, Settings]:
    """Measure on this machine and plan; see `make_plan`. The last result is what the network computes with."""
    chosen: dict[str, Settings] = {}

    def measure(candidate: RunConfig) -> Speed:
        network = models.build(candidate.model, dataset.image_shape, len(dataset.classes), own_models)
        settings = choose_settings(candidate, network, dataset, preprocessing)
        chosen[candidate.model.model_dump_json()] = settings
        settings.apply()
        return measure_network(candidate, network, settings, dataset, preprocessing)

    config, plan = make_plan(config, dataset.image_shape, len(dataset.train), measure, spent)
    return config, plan, chosen[config.model.model_dump_json()]


def make_plan(
    config: RunConfig,
    image_shape: tuple[int, int, int],
    num_images: int,
    measure: Callable[[RunConfig], Speed],
    spent: Callable[[], float],
) -> tuple[RunConfig, Plan]:
    """Choose what the configuration leaves to a plan, so that the time is filled.

    Args:
        config: with a budget; the keys that it names as planned are chosen here.
        image_shape: (channels, height, width) of the images.
        num_images: to train on.
        measure: times a configuration's network here.
        spent: tells how many seconds of the budget are gone.

    Returns:
        The configuration with these keys decided, and the plan.

    Raises:
        ConfigError: the time is not enough for one pass; it says how much would be.
    """
    budget = config.budget.seconds or 0.0
    config = without_flips_of_grey(config, image_shape[0])
    options = [_decided(config, {"model.widths": list(widths)}) for widths in _WIDTHS]
    if "model.widths" not in config.budget.planned:
        options = [config]

    def fitted(option: RunConfig) -> tuple[RunConfig, Plan, float]:
        speed = measure(option)
        seconds = training_seconds(budget, speed.end_seconds) - spent()
        if seconds > 0:  # the first stage takes as many images as it has time for
            seconds = max(0.0, seconds - speed.first_seconds)
        full_size = option.training.model_copy(update={"low_resolution": ()})
        num_passes = seconds / speed.pass_seconds(full_size, num_images)
        course = next((course for passes, course in _LOW_RESOLUTIONS if num_passes < passes), ())
        low_resolution = [list(pair) for pair in course if pair[1] in speed.image_seconds]
        option = _decided(option, {"training.low_resolution": low_resolution})
        for _ in range(2):  # few passes mean small batches, and these mean more work for the optimiser
            one_pass = speed.pass_seconds(option.training, num_images)
            option = _decided(option, {"training.epochs": max(1, round(seconds / one_pass))})
        batch_size = option.training.batch_size_for(num_images)
        step = batch_size * speed.image_seconds[1.0] + speed.optimizer_seconds
        return option, Plan(seconds / one_pass, step, batch_size / step, speed.end_seconds), one_pass

    chosen, plan, one_pass = fitted(options[0])
    while plan.num_passes < _ENOUGH_PASSES and len(options) > 1:
        # Networks that cannot have enough passes are not measured; others may be slower than their multiplications.
        work = _work(options[0]) * plan.num_passes
        options = [option for option in options[1:] if work / _work(option) >= _ENOUGH_PASSES] or options[-1:]
        chosen, plan, one_pass = fitted(options[0])
    if plan.num_passes < (0 if begins_pretrained(chosen) else 1):  # a fitted last layer is a result too
        around = spent() + budget - training_seconds(budget, plan.end_seconds)
        raise ConfigError(
            f"`budget='{written_duration(budget)}'`: too short: one pass over {num_images:,} images takes about "
            f"{written_duration(one_pass)} here, beginning and ending {written_duration(around)}; "
            f"try `budget='{written_duration(_generous(one_pass + around))}'`"
        )
    return chosen, plan


def without_flips_of_grey(config: RunConfig, channels: int) -> RunConfig:
    """Return the configuration without mirror images, if the images are grey and it leaves that to a plan."""
    return _decided(config, _WITHOUT_FLIPS) if channels == 1 else config


def _decided(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """Return the configuration with those of the values that it leaves to the plan."""
    planned: dict[str, Any] = {key: value for key, value in values.items() if key in config.budget.planned}
    return change(config, planned, "the plan") if planned else config


def _work(config: RunConfig) -> float:
    """Return a number proportional to the multiplications of a FastNet; each group sees a quarter of the pixels."""
    work, inputs, pixels = 0.0, config.model.options["widths"][0], 1.0
    for width in config.model.options["widths"]:
        work += pixels * width * (inputs + width / 4)
        inputs, pixels = width, pixels / 4
    return work


def _generous(seconds: float) -> float:
    """Return a round number of seconds that is enough even where the measurement was a fifth too good."""
    step = 10 if seconds < 50 else 60 if seconds < 1500 else 600
    return step * -(-1.2 * seconds // step)


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
    image_seconds = {}
    is_pretrained = begins_pretrained(config)
    for factor in (1.0,) if is_pretrained else _FACTORS:
        size = size_at([(1.0, factor)], 0.0, height, width)
        try:
            models.verify_shapes(copy.deepcopy(model), config.model.name, (channels, *size), num_classes)
        except ModelError:  # a network for images of one size
            continue
        images = preprocessing(shrink(pixels, *size))
        image_seconds[factor] = 1 / hardware.measure_speed(settings, model, images, num_classes, _SECONDS)
    network = settings.place(copy.deepcopy(model))
    forward.logits(network, pixels, preprocessing, settings)  # warm-up
    start = time.perf_counter()
    forward.logits(network, pixels, preprocessing, settings).cpu()
    inference_seconds = (time.perf_counter() - start) / len(pixels)
    num_train, num_seen = len(dataset.train), len(dataset.validation)
    if config.training.frozen == "nothing":
        num_seen += min(config.training.batch_norm_images, num_train)
    num_first = 0
    if is_pretrained:
        load_pretrained(network, config.model)
        num_kept = first_stage.num_kept(network, dataset, preprocessing, settings)
        num_first = num_train - num_kept + num_seen
    return Speed(
        image_seconds=image_seconds,
        optimizer_seconds=_optimizer_seconds(config, model, settings),
        end_seconds=num_seen * inference_seconds,
        first_seconds=num_first * inference_seconds,
    )


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
