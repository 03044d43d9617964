"""A small part of a budget chooses what gets the rest: pretrained or random weights, by what each reaches."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kilnet import hardware, models
from kilnet.config import HardwareConfig, RunConfig
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.mapped_images import memory_bytes
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.inference import forward
from kilnet.inference.feature_pass import feature_seconds
from kilnet.models.pretrained import published
from kilnet.recipes.changes import change
from kilnet.training.attempts import Attempt, keep_choice, kept_choice, question, suiting, verdict
from kilnet.training.first_stage import FirstStage, fit_first
from kilnet.training.initial_model import (
    choose_settings,
    comparing_seconds,
    initial_model,
    preprocessing_for,
    with_gradient,
)
from kilnet.training.loop import TrainingLoop
from kilnet.training.plan import without_flips_of_grey
from kilnet.training.schedule import BudgetSchedule, training_seconds

# Parts of the budget. Features of all images are no waste where they win, so they may take more than an attempt.
_FEATURES_PART, _ATTEMPT_PART = 0.45, 0.12
_SIZES_PART, _LEAST_PER_CLASS = 0.1, 20  # for comparing networks by some of the images, if these are enough
# Of an attempt; where its part of the budget is less, there is time for one alone. Photographs take longer.
_LEAST_SECONDS, _LEAST_SECONDS_OF_PHOTOGRAPHS = 4.0, 10.0
_PHOTOGRAPH_SIDE = 64  # what a folder's pictures are scaled to at most; smaller ones are smaller themselves
_MEMORY_PART = 0.1  # of the machine's, for images
_WIDTHS = [32, 96, 96]  # of FastNet in its attempt
_NUM_PASSES = 6  # batches as of a run of so many passes
# Work of EfficientNet-Lite1 and 2 for an image of their own size, as a multiple of Lite0's (multiplications of 631 and
# 899 million, 407 of Lite0, as published), and of a training step as a multiple of looking (measured).
_WORK, _TRAINING_WORK = (1.0, 1.6, 2.3), 4.5
_LATE_WORK = 2.6  # of a step in which the first half of the layers stays as it is
# How errors fall, as powers of time, of images, and of passes (docs/experiments.md, "The budget chooses").
_OF_TIME, _OF_IMAGES, _OF_PASSES = 0.4, 0.3, 0.2


@dataclass(frozen=True, eq=False)
class Choice:
    """What gets the rest of the time.

    Attributes:
        config: of the run.
        dataset: its images.
        line: what was tried; None where there was nothing to choose from.
        first: the first stage of a pretrained network, where it has seen all images.
    """

    config: RunConfig
    dataset: ImageDataset
    line: str | None = None
    first: FirstStage | None = None


def choose(
    scratch: RunConfig,
    pretrained: Sequence[RunConfig],
    load: Callable[[RunConfig], ImageDataset],
    spent: Callable[[], float],
    own_models: Set[str] = frozenset(),
    squares: Callable[[RunConfig, Split], Split | None] = lambda *_: None,
) -> Choice:
    """Try random and pretrained weights on the images, each for a small part of the budget, and choose.

    Where time is too short to look at all photographs once, random weights would not do better, and are not tried. What
    was chosen before for the same images and the same time is chosen again.

    Args:
        scratch: begins with random weights; with a budget.
        pretrained: candidates with published weights that are installed, of one network, the quickest first.
        load: gives the images of a candidate.
        spent: tells how many seconds of the budget are gone.
        own_models: see `kilnet.models.complete`.
        squares: gives some images as a candidate has them; None where `load` has to give all.
    """
    budget = scratch.budget.seconds or 0.0
    dataset = load(scratch)
    asked = question(scratch, pretrained, dataset)
    if kept := kept_choice(asked, scratch.seed):
        config, line = kept
        return Choice(config, load(config), line)
    num_images = len(dataset.train) + len(dataset.validation)
    least = _LEAST_SECONDS_OF_PHOTOGRAPHS if pretrained and is_photographs(dataset) else _LEAST_SECONDS
    has_time_for_both = _ATTEMPT_PART * budget >= least
    attempts: list[Attempt] = []
    pretrained = [config for config in pretrained if _fits_memory(config, num_images)]
    if pretrained and (has_time_for_both or is_photographs(dataset)):
        attempts += _try_pretrained(pretrained, dataset, load, squares, spent, not has_time_for_both)
    attempt_seconds = max(_LEAST_SECONDS, _ATTEMPT_PART * budget)
    is_settled = is_photographs(dataset) and any(attempt.is_unfinished for attempt in attempts)
    has_time_for_both = has_time_for_both and not is_settled
    if attempts and has_time_for_both and training_seconds(budget, 0.0) - spent() > 2 * attempt_seconds:
        attempts.append(_try_random(scratch, dataset, spent, own_models))
    if not attempts:
        return Choice(scratch, dataset)
    best = min(attempts, key=lambda attempt: attempt.expected_error)
    line = verdict(attempts, best)
    if not any(attempt.is_unfinished for attempt in attempts):
        keep_choice(asked, best.config, line)
    return Choice(best.config, best.dataset, line, best.first)


def room_for_pictures() -> int:
    """Return how many bytes of decoded pictures to keep, so that candidates of other sizes decode nothing again."""
    return int(_MEMORY_PART * memory_bytes())


def is_photographs(dataset: ImageDataset) -> bool:
    """Whether pictures may be photographs, as far as colour and size tell."""
    return dataset.image_shape[0] == 3 and min(dataset.image_shape[1:]) >= _PHOTOGRAPH_SIDE


def _try_pretrained(
    candidates: Sequence[RunConfig],
    small: ImageDataset,
    load: Callable[[RunConfig], ImageDataset],
    squares: Callable[[RunConfig, Split], Split | None],
    spent: Callable[[], float],
    is_alone: bool,
) -> list[Attempt]:
    """Fit the last layer of a network: of that whose features suit some of the images, or else the largest.

    Of those for which there is time. If there is none, the smallest sees some of the images.
    """
    budget, channels = candidates[0].budget.seconds or 0.0, small.image_shape[0]
    num_train, num_validation, num_classes = len(small.train), len(small.validation), len(small.classes)
    started = spent()
    settings, per_second = _measured(candidates[0], channels, num_train, num_classes)
    left, unit = budget - spent(), _work(candidates[0])
    all_seconds = (num_train + num_validation) / per_second
    affordable = [c for c in candidates if all_seconds * _work(c) / unit <= _FEATURES_PART * left]
    time_part = _FEATURES_PART if affordable or is_alone else _ATTEMPT_PART
    part = 1.0 if affordable else min(1.0, max(0.0, time_part * left / all_seconds))
    if part * num_train < 4 * num_classes and not is_photographs(small):
        return []
    networks = [
        _Pretrained(without_flips_of_grey(config, channels), settings)
        for config in affordable or candidates[:1]
    ]
    most = int(_SIZES_PART * left * per_second * unit / sum(_work(network.config) for network in networks))
    whole, known = None, None
    if len(networks) > 1 and most >= _LEAST_PER_CLASS * num_classes:
        end = spent() + _FEATURES_PART * left
        compared = _compared(networks, small, min(most, num_train), load, squares, lambda: end - spent())
        networks, whole, known = [compared[0]], *compared[1:]
    network = networks[-1]
    config, dataset = network.config, whole or load(network.config)
    end = spent() + time_part * (budget - spent())  # of what decoding has left
    validation = dataset.validation if part == 1 else _part(dataset.validation, part)
    first = network.first_stage(dataset, lambda: end - spent(), validated=validation, known=known)
    is_right = first.logits.argmax(1).numpy() == validation.labels
    right = dict(zip(validation.names, is_right.tolist(), strict=True))
    # Under the load that there is now, where anything was computed.
    image_seconds = first.image_seconds or _work(config) / unit / per_second
    seconds, part = spent() - started, first.fitted.num_images / num_train
    left = training_seconds(budget, num_validation * image_seconds) - spent()
    all_seconds = max(1e-6, image_seconds * num_train)
    left -= (1 - part) * all_seconds
    one_pass = _TRAINING_WORK * all_seconds
    num_passes = max(0.0, left / one_pass)
    config = config.model_copy(update={"hardware": settings.record()})
    if left < _LATE_WORK * all_seconds:  # less than a pass spoils more than it mends
        config = change(config, {"training.frozen": "features"}, "the choice")
        num_passes = 0.0
    more_images = min(1 / part, max(1.0, 1 + left / all_seconds))
    gain = float(more_images**-_OF_IMAGES * (1 + num_passes) ** -_OF_PASSES)
    title = f"{config.model.name} {_size(config)} with pretrained weights at {_side(config)} pixels"
    is_whole = part == 1 and validation is dataset.validation
    return [Attempt(title, seconds, right, config, dataset, gain, part < 1, first if is_whole else None)]


@dataclass(frozen=True)
class _Pretrained:
    """A network with pretrained weights, which is made when it first sees images.

    What it computes with is measured once, of the smallest network.
    """

    config: RunConfig
    settings: Settings

    def first_stage(
        self,
        dataset: ImageDataset,
        left: Callable[[], float],
        most: int | None = None,
        validated: Split | None = None,
        known: npt.NDArray[np.float16] | None = None,
    ) -> FirstStage:
        """Fit the last layer; see `fit_first`."""
        self.settings.apply()
        preprocessing = preprocessing_for(self.config, dataset)
        model = initial_model(self.config, dataset, preprocessing, False, frozenset())
        records = fit_first(
            self.settings.place(model),
            dataset,
            preprocessing,
            self.settings,
            is_balanced=self.config.training.balance != "none",
            left=left,
            most=most,
            validated=validated,
            known=known,
        )
        while True:
            try:
                next(records)
            except StopIteration as end:
                first: FirstStage = end.value
                return first


def _compared(
    networks: Sequence[_Pretrained],
    small: ImageDataset,
    most: int,
    load: Callable[[RunConfig], ImageDataset],
    squares: Callable[[RunConfig, Split], Split | None],
    left: Callable[[], float],
) -> tuple[_Pretrained, ImageDataset | None, npt.NDArray[np.float16]]:
    """Return the network that suits the first of the training images, and its features of them; see `suiting`.

    In between, all of its images, where they had to be loaded.
    """
    some = small.train.take(np.arange(most))
    found = []
    for network in networks:
        part = squares(network.config, some)
        whole = load(network.config) if part is None else None
        dataset = whole or replace(small, train=part or some).sealed()
        first = network.first_stage(dataset, left, most)
        found.append((first.fitted, network, whole, first.features))
    return found[suiting([fitted for fitted, *_ in found])][1:]


def _try_random(
    scratch: RunConfig, dataset: ImageDataset, spent: Callable[[], float], own_models: Set[str]
) -> Attempt:
    """Train a network of middle width from random weights, its rate falling to zero within its part of the time."""
    budget, started = scratch.budget.seconds or 0.0, spent()
    own = {"training.epochs": _NUM_PASSES, "training.low_resolution": []}
    own |= {"model.widths": _WIDTHS} if "model.widths" in scratch.budget.planned else {}
    config = change(without_flips_of_grey(scratch, dataset.image_shape[0]), own, "the choice")
    preprocessing = preprocessing_for(config, dataset)
    model = initial_model(config, dataset, preprocessing, False, own_models)
    quick = config.model_copy(update={"hardware": _usual(config.hardware)})
    settings = choose_settings(quick, model, dataset, preprocessing)
    settings.apply()
    images = preprocessing(
        torch.from_numpy(dataset.train.images[: hardware.probe_size(*dataset.image_shape[1:])].copy())
    )
    per_second = hardware.measure_speed(settings, model, images, len(dataset.classes), 0.2)
    batch_size = config.training.batch_size_for(len(dataset.train))
    seconds = max(_LEAST_SECONDS, _ATTEMPT_PART * budget)
    end_seconds = len(dataset.validation) / per_second / 2
    spare = seconds - training_seconds(seconds, end_seconds) - end_seconds  # for what this attempt has not
    schedule = BudgetSchedule(
        num_epochs=_NUM_PASSES,
        budget_seconds=seconds + spare,
        step_seconds=batch_size / per_second,
        end_seconds=end_seconds,
        started=monotonic() - (spent() - started),
    )
    loop = TrainingLoop(model, dataset, config, preprocessing, settings, schedule)
    for _ in loop:
        pass
    right = _right(loop.validated_model, dataset.validation, preprocessing, settings)
    left = training_seconds(budget, end_seconds) - spent()
    gain = float(max(1.0, left / seconds) ** -_OF_TIME)
    title = f"{config.model.name} from random weights"
    return Attempt(title, spent() - started, right, scratch, dataset, gain)


def _right(
    model: nn.Module, split: Split, preprocessing: Preprocessing, settings: Settings
) -> dict[str, bool]:
    logits = forward.logits(model, torch.from_numpy(split.images), preprocessing, settings)
    is_right = logits.argmax(1).cpu().numpy() == split.labels
    return dict(zip(split.names, is_right.tolist(), strict=True))


def _part(split: Split, part: float) -> Split:
    """Return so much of a split, evenly from its whole length."""
    count = min(len(split), max(2, round(part * len(split))))
    chosen: npt.NDArray[np.int64] = np.linspace(0, len(split) - 1, count).round().astype(np.int64)
    return split if count == len(split) else split.take(chosen)


def _measured(config: RunConfig, channels: int, num_images: int, num_classes: int) -> tuple[Settings, float]:
    """Return what a pretrained network computes with, and how many images a second it then looks at.

    On a CPU one thread is timed: several that share a layer would wait for each other while other programs run.
    """
    side = _side(config)
    images = torch.zeros(config.training.batch_size_for(num_images), channels, side, side)
    model = models.build(config.model, (channels, side, side), num_classes)
    usual = with_gradient(_usual(config.hardware), model)
    alone = usual.model_copy(update={"threads": 1}) if usual.threads else usual
    seconds = comparing_seconds(config)
    settings = hardware.choose(alone, model, config.model, images, num_classes, trains=False, seconds=seconds)
    settings = replace(settings, threads=usual.threads or settings.threads)
    settings.apply()
    pixels = torch.zeros(1, channels, side, side, dtype=torch.uint8)
    preprocessing = Preprocessing((0.5,) * channels, (0.5,) * channels, (side, side))
    return settings, 1 / feature_seconds(settings.place(model), preprocessing, settings, pixels)


def _usual(asked: HardwareConfig) -> HardwareConfig:
    """Return what an attempt computes with: on a CPU all cores and the usual layout, where that is open.

    To time other layouts and fewer threads may take longer than the attempt.
    """
    if hardware.resolve_device(asked.device) != "cpu":
        return asked
    layout = "channels_last" if asked.layout == "auto" else asked.layout
    threads = asked.threads or hardware.available_threads()
    return asked.model_copy(update={"layout": layout, "threads": threads})


def _side(config: RunConfig) -> int:
    weights = published(config.model)
    return config.data.image_size or (weights.image_size if weights else _PHOTOGRAPH_SIDE)


def _size(config: RunConfig) -> int:
    return int(config.model.options["size"])


def _work(config: RunConfig) -> float:
    """Return the work of looking at an image, as a multiple of that of Lite0 at its own size."""
    weights = published(config.model)
    enlarged = _side(config) / weights.image_size if weights else 1.0
    return _WORK[_size(config)] * enlarged**2


def _fits_memory(config: RunConfig, num_images: int) -> bool:
    return 3 * _side(config) ** 2 * num_images <= _MEMORY_PART * memory_bytes()
