"""What fits into a budget: which network, how many passes over the images, at which resolutions."""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any

from kilnet import models
from kilnet.config import RunConfig, TrainingConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ConfigError
from kilnet.hardware import Settings
from kilnet.recipes.changes import change
from kilnet.recipes.reading import written_duration
from kilnet.training.initial_model import begins_pretrained, choose_settings
from kilnet.training.schedule import SPARE_SECONDS, training_seconds
from kilnet.training.speed import (
    KeptSpeed,
    Speed,
    ending_seconds,
    keep_speed,
    measure_network,
    recall_speed,
    speed_key,
)

# Widths of FastNet to choose from, the best for long runs first, and how many passes make one of them worth its time
# (docs/experiments.md).
_WIDTHS = ((64, 256, 256), (48, 160, 160), (32, 96, 96), (24, 48, 48))
_ENOUGH_PASSES = 4.0
_SHORT_SECONDS = 60.0  # in such a budget the narrowest network is measured first
_LEAST_PASSES = 0.25  # with less a network of random weights has learned next to nothing
_FEW_PASSES = 2.0  # of a pretrained network: where there are fewer, its first layers stay as they are
# Until when to train at which part of the side, for runs of fewer passes at full size than the first number.
_LOW_RESOLUTIONS = (
    (2.5, ((0.2, 0.5), (0.5, 0.75))),
    (6.0, ((0.1, 0.5), (0.35, 0.75))),
    (16.0, ((0.3, 0.75),)),
)
# Mirroring makes sense for photographs, but not for letters, digits and scans.
_WITHOUT_FLIPS = {"augment.horizontal_flip": 0.0, "augment.alternate_flips": False, "views.mirror": False}


@dataclass(frozen=True)
class Plan:
    """What was planned, and from what.

    Attributes:
        num_passes: over the training images, about.
        step_seconds: of one step at full size.
        images_per_second: in such steps.
        end_seconds: validating at the end.
        spare_seconds: what the program takes around that, see `training_seconds`.
    """

    num_passes: float
    step_seconds: float
    images_per_second: float
    end_seconds: float
    spare_seconds: float = SPARE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a plan was made from.

    Attributes:
        settings: what the network computes with.
        key: under which its speed is kept; None, it is not.
        kept: its speed.
        is_kept: whether that was measured before, and has to agree with the first steps.
    """

    settings: Settings
    key: str | None
    kept: KeptSpeed
    is_kept: bool


def plan_run(
    config: RunConfig,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    spent: Callable[[], float],
    own_models: Set[str],
    uses_kept: bool = True,
) -> tuple[RunConfig, Plan, Basis]:
    """Measure on this machine and plan; see `make_plan`. What is kept of the machine is used if `uses_kept`."""
    found: dict[str, Basis] = {}

    def measure(candidate: RunConfig) -> Speed:
        network = models.build(candidate.model, dataset.image_shape, len(dataset.classes), own_models)
        settings = choose_settings(candidate, network, dataset, preprocessing, uses_kept)
        key = speed_key(candidate, settings, dataset)
        kept = recall_speed(key) if key and uses_kept else None
        is_kept = kept is not None
        if kept is None:
            settings.apply()
            speed = measure_network(candidate, network, settings, dataset, preprocessing)
            kept = KeptSpeed(speed, time.time())
            if key:
                keep_speed(key, kept)
        settings = replace(settings, weight_gradient=kept.speed.weight_gradient)
        basis = Basis(settings=settings, key=key, kept=kept, is_kept=is_kept)
        found[candidate.model.model_dump_json()] = basis
        return kept.speed

    spare_seconds = ending_seconds()
    config, plan = make_plan(config, dataset.image_shape, len(dataset.train), measure, spent, spare_seconds)
    return config, plan, found[config.model.model_dump_json()]


def make_plan(
    config: RunConfig,
    image_shape: tuple[int, int, int],
    num_images: int,
    measure: Callable[[RunConfig], Speed],
    spent: Callable[[], float],
    spare_seconds: float = SPARE_SECONDS,
) -> tuple[RunConfig, Plan]:
    """Choose what the configuration leaves to a plan, so that the time is filled.

    Args:
        config: with a budget; the keys that it names as planned are chosen here.
        image_shape: (channels, height, width) of the images.
        num_images: to train on.
        measure: times a configuration's network here.
        spent: tells how many seconds of the budget are gone.
        spare_seconds: see `training_seconds`.

    Returns:
        The configuration with these keys decided, and the plan.

    Raises:
        ConfigError: the time is not enough for `_LEAST_PASSES`; it says how much would be for a whole one.
    """
    budget = config.budget.seconds or 0.0
    config = without_flips_of_grey(config, image_shape[0])
    options = [_decided(config, {"model.widths": list(widths)}) for widths in _WIDTHS]
    if "model.widths" not in config.budget.planned:
        options = [config]

    def fitted(option: RunConfig) -> tuple[RunConfig, Plan, float]:
        speed = measure(option)
        seconds = training_seconds(budget, speed.end_seconds, spare_seconds) - spent()
        if seconds > 0:  # the first stage takes as many images as it has time for
            seconds = max(0.0, seconds - speed.first_seconds)
        full_size = option.training.model_copy(update={"low_resolution": ()})
        num_passes = seconds / speed.pass_seconds(full_size, num_images)
        course = next((course for passes, course in _LOW_RESOLUTIONS if num_passes < passes), ())
        low_resolution = [list(pair) for pair in course if pair[1] in speed.image_seconds]
        option = _decided(option, {"training.low_resolution": low_resolution})
        for _ in range(2):  # few passes mean small batches, and these mean more work for the optimiser
            one_pass = speed.pass_seconds(option.training, num_images)
            option = _decided(option, _length(config.training, seconds / one_pass))
        batch_size = option.training.batch_size_for(num_images)
        step = speed.step_seconds(option.training, num_images)
        plan = Plan(
            num_passes=seconds / one_pass,
            step_seconds=step,
            images_per_second=batch_size / step,
            end_seconds=speed.end_seconds,
            spare_seconds=spare_seconds,
        )
        return option, plan, one_pass

    narrowest = fitted(options[-1]) if len(options) > 1 and budget <= _SHORT_SECONDS else None
    if narrowest and narrowest[1].num_passes < _ENOUGH_PASSES:  # wider ones have fewer, and are slow to time
        options = options[-1:]
    chosen, plan, one_pass = narrowest if narrowest and len(options) == 1 else fitted(options[0])
    while plan.num_passes < _ENOUGH_PASSES and len(options) > 1:
        # Networks that cannot have enough passes are not measured; others may be slower than their multiplications.
        work = _work(options[0]) * plan.num_passes
        options = [option for option in options[1:] if work / _work(option) >= _ENOUGH_PASSES] or options[-1:]
        chosen, plan, one_pass = fitted(options[0])
    is_open = chosen.training.frozen == "statistics" and "training.frozen" in chosen.budget.planned
    if is_open and plan.num_passes < _FEW_PASSES:
        chosen, plan, one_pass = fitted(_decided(chosen, {"training.frozen": "early"}))
    least = 0.0 if begins_pretrained(chosen) else _LEAST_PASSES  # a fitted last layer is a result too
    if plan.num_passes < least:
        around = spent() + budget - training_seconds(budget, plan.end_seconds, spare_seconds)
        raise ConfigError(
            f"`budget='{written_duration(budget)}'`: too short: one pass over {num_images:,} images takes about "
            f"{written_duration(one_pass)} here, beginning and ending {written_duration(around)}; "
            f"try `budget='{written_duration(_generous(one_pass + around))}'`"
        )
    return chosen, plan


def _length(training: TrainingConfig, num_passes: float) -> dict[str, Any]:
    """Return the settings of a run of so many passes; one of a part of a pass has as many steps as one of a whole."""
    part = min(1.0, max(_LEAST_PASSES, num_passes))
    return {
        "training.epochs": max(1, round(num_passes)),
        "training.min_steps": round(training.min_steps / part),
        "training.averaging_epochs": part * training.averaging_epochs,
    }


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
