"""Training a smaller network on the answers of a larger one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet import models
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import Data, in_memory
from kilnet.errors import DataError
from kilnet.inference.classifier import images_per_second
from kilnet.recipes.built_in import FAST
from kilnet.runs.run import Run, opened, refuse_moved
from kilnet.storage import given_path
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.keys import with_whole_keys
from kilnet.verbs.request import requested
from kilnet.verbs.train import joined_or_ended, train_as

# Of the loss, three quarters ask for the teacher's answers, softened; a guess, not measured.
_WEIGHT, _TEMPERATURE = 0.75, 2.0
# Of FastNet, which with the widths that are best for accuracy alone takes as long for an image of 64 pixels as
# EfficientNet-Lite0 for one of 224 (30 and 32 images a second on two cores), and so a fifth of that.
_WIDTHS = [32, 96, 96]
_NUM_TIMED = 128  # images, which a large network looks at in a few seconds


@dataclass(frozen=True)
class NetworkInUse:
    """How good, how large and how fast a network is.

    Attributes:
        run: its folder.
        model: its name.
        num_correct, num_images: of the validation images.
        num_parameters: of the network.
        num_bytes: of its file of weights.
        images_per_second: that it classifies here, in memory, in fp32, with any further views.
    """

    run: str
    model: str
    num_correct: int
    num_images: int
    num_parameters: int
    num_bytes: int
    images_per_second: float

    @property
    def accuracy(self) -> float:
        """The part of the validation images that it has right."""
        return self.num_correct / self.num_images


@dataclass(frozen=True, eq=False)
class Distillation:
    """A network that has learned from another, beside it.

    Attributes:
        run: of the smaller network.
        student, teacher: both in use.
    """

    run: Run
    student: NetworkInUse
    teacher: NetworkInUse

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        sides = {"student": self.student, "teacher": self.teacher}
        return {name: {**asdict(side), "accuracy": side.accuracy} for name, side in sides.items()}


def distill(
    run: Run | str | Path,
    model: str = "FastNet",
    *,
    budget: str | None = None,
    epochs: int | None = None,
    recipe: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    data: Data | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = True,
    started: float | None = None,
) -> Distillation:
    """Train a smaller network on the answers that a run's network gives for the training images, and on their labels.

    The result is a run of its own that names its teacher as parent; the same call again resumes it. Images have the
    size that the smaller network would get by itself. Validation and test images are those of the teacher.

    Args:
        run: the teacher: what `train` returned, or its folder.
        model: the smaller network; FastNet has the recipe `fast`, unless another is named, and is narrow (32/96/96),
            unless `model.widths` are set.
        budget, epochs, recipe, settings, seed, device, progress, started: as for `train`; the budget includes asking
            the teacher. `training.teacher_weight` is 0.75 and `training.temperature` 2, unless they are set.
        data: if the teacher's data cannot be loaded by its name, or has moved.
        out: run folder; by default beside the teacher's.

    Raises:
        KilnetError: see `kilnet.errors`.
    """
    started = monotonic() if started is None else started
    ranks = joined_or_ended(data, model, (settings or {}).get("model.name"))
    teacher = opened(run)
    if data is None:
        refuse_moved(teacher)
    of_teaching = {"training.teacher_weight": _WEIGHT, "training.temperature": _TEMPERATURE}
    settings = {**of_teaching, **with_whole_keys(settings or {}, "the settings")}
    settings["parent"] = str(teacher.folder.resolve())
    is_fast = model == "FastNet" and recipe is None
    if is_fast and "model.name" not in settings:
        settings.setdefault("model.widths", _WIDTHS)
    named = None if is_fast and budget is not None else model
    recipe = FAST if is_fast and budget is None else recipe
    source = teacher.config.data.source if data is None else data
    config = requested(source, named, recipe, settings, epochs, seed, device, budget)
    own_images = {"image_size": config.data.image_size, "fit": config.data.fit, "source": config.data.source}
    config = config.model_copy(update={"data": teacher.config.data.model_copy(update=own_images)})
    own = models.own_models(model, settings.get("model.name"))
    with ProgressDisplay(enabled=progress) as display:
        shown = teacher.own_data(data, progress=display.advance)
        dataset = in_memory(source, config.data, display.advance)
        display.say(
            f"the teacher, {teacher.config.model.name}, looks at {len(dataset.train):,} training images"
        )
        answers = _answers(teacher, shown, dataset)
    name = f"{teacher.folder.resolve().name}-distilled"
    place = given_path(out) if out is not None else (teacher.folder.resolve().parent, name)
    student = train_as(config, dataset, place, progress, started, own, answers=answers, ranks=ranks)
    return Distillation(run=student, student=_in_use(student, dataset), teacher=_in_use(teacher, shown))


def _answers(teacher: Run, shown: ImageDataset, dataset: ImageDataset) -> npt.NDArray[np.float32]:
    """Return the teacher's logits for the images that the student trains on, in that order."""
    if shown.classes != dataset.classes or set(shown.train.names) != set(dataset.train.names):
        raise DataError(
            f"{dataset.name}: at this size its training images are not those of {teacher.folder}; "
            "choose another `data.image_size`"
        )
    classifier = teacher.calibrated_classifier()
    # As it was trained: twice as fast where that is bf16, and no answer has to be exact.
    settings = replace(classifier.settings, precision=teacher.config.hardware.precision)
    settings.apply()
    logits = replace(classifier, settings=settings).logits(shown.train.images)
    place = {name: index for index, name in enumerate(shown.train.names)}
    return logits[[place[name] for name in dataset.train.names]]


def _in_use(run: Run, dataset: ImageDataset) -> NetworkInUse:
    classifier = run.classifier
    classifier.settings.with_all_threads().apply()
    return NetworkInUse(
        run=str(run.folder),
        model=run.config.model.name,
        num_correct=run.best.num_validation_correct,
        num_images=run.num_validation,
        num_parameters=sum(parameter.numel() for parameter in classifier.model.parameters()),
        num_bytes=run.files.weights_path.stat().st_size,
        images_per_second=images_per_second(classifier, dataset.validation.images[:_NUM_TIMED]),
    )
