"""Figures of data and runs as functions: each returns a matplotlib figure, which a notebook shows by itself.

    import kilnet.plots
    kilnet.plots.training_images("photos/")
    kilnet.plots.filters("runs/demo")
    kilnet.plots.sample_predictions(run, count=12).savefig("samples.png")

`run` is what `kilnet.train` returned, or its folder. Images come from the run's validation split unless another is
named; a reading of the test split is recorded as `kilnet.evaluate` does. `data` is the run's data where it cannot be
loaded by its name. All functions raise subclasses of `KilnetError`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset, one_split
from kilnet.data.sources import Data, in_memory
from kilnet.errors import InputError
from kilnet.figures import charts, inspection_figures, mosaics
from kilnet.figures.charts import Figure, Normalise
from kilnet.inspection import features, samples
from kilnet.inspection.label_errors import suspected_labels
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.logits import softmax
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.runs.run import AnyRun, Run, opened
from kilnet.seeding import generator
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.evaluate import evaluated
from kilnet.verbs.inspect import explanations, picture_to_explain
from kilnet.verbs.request import requested

__all__ = [
    "attribution",
    "augmentation",
    "confident_mistakes",
    "confused_pairs",
    "confusion_matrix",
    "feature_maps",
    "filters",
    "label_errors",
    "learning_curves",
    "per_class",
    "sample_predictions",
    "training_images",
]


def training_images(
    data: Data = "cifar10", count: int = 12, *, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> Figure:
    """Draw training images at random, one row per class; `settings` are those of `kilnet.train`."""
    dataset, _ = _dataset(data, settings, seed)
    count, title = _at_least_one("count", count), f"{dataset.name}, training images"
    return mosaics.images_by_class(dataset.train, dataset.classes, count, seed, title)


def augmentation(
    data: Data = "cifar10",
    settings: Mapping[str, Any] | None = None,
    *,
    count: int = 6,
    num_epochs: int = 8,
    seed: int = 0,
) -> Figure:
    """Draw training images, and what `kilnet.train` with these settings and this seed makes of them in each epoch."""
    dataset, config = _dataset(data, settings, seed)
    order = generator(seed, "augmentation").permutation(len(dataset.train))
    indices = order[: _at_least_one("count", count)]
    num_epochs = _at_least_one("num_epochs", num_epochs)
    return mosaics.augmentation(dataset.train, indices, config.augment, seed, num_epochs)


def learning_curves(run: AnyRun) -> Figure:
    """Draw loss and accuracy of training and validation by epoch."""
    return charts.learning_curves([asdict(record) for record in opened(run).history])


def confusion_matrix(run: AnyRun, split: str = "test", normalise: Normalise = "counts") -> Figure:
    """Draw the confusion matrix of a split that `kilnet.evaluate` has evaluated: "counts", "recall" or "precision"."""
    return charts.confusion_matrix(_recorded(run, split), normalise)


def per_class(run: AnyRun, split: str = "test") -> Figure:
    """Draw recall and precision of each class of a split that `kilnet.evaluate` has evaluated."""
    return charts.per_class(_recorded(run, split))


def filters(
    run: AnyRun,
    layer: str | int | None = None,
    channel: int | None = None,
    *,
    all_kernels: bool = False,
    columns: int | None = None,
) -> Figure:
    """Draw the filters of a convolution, by name or by number from 1; see `kilnet.inspection.features.filters`."""
    grid = features.filters(opened(run).classifier, layer, channel, all_kernels)
    return inspection_figures.filters(grid, columns)


def feature_maps(
    run: AnyRun, image: str | int | None = None, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw what each convolution makes of an image: a name of the split, a file, or a place in the split."""
    run = _with_data(run, data)
    picture, _, _ = picture_to_explain(run, one_split(split), image)
    return inspection_figures.feature_maps(features.feature_maps(run.classifier, picture))


def attribution(
    run: AnyRun,
    image: str | int | None = None,
    target: str | int | None = None,
    *,
    split: str = "validation",
    data: Data | None = None,
) -> Figure:
    """Draw which parts of an image speak for a class: by default the predicted one, and the label where they differ."""
    run = _with_data(run, data)
    picture, name, truth = picture_to_explain(run, one_split(split), image)
    explained = explanations(run.classifier, picture, target, truth)
    return inspection_figures.attribution(picture, name, explained, truth)


def sample_predictions(
    run: AnyRun, count: int = 30, seed: int = 0, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw images at random with truth, prediction and confidence."""
    found = samples.sample_predictions(_evaluated(run, split, data), count, seed)
    return inspection_figures.contact_sheet(found, f"Sample predictions, {one_split(split)}")


def confident_mistakes(
    run: AnyRun, count: int = 30, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw the images that the network got wrong, the most confident first."""
    found = samples.confident_mistakes(_evaluated(run, split, data), count)
    return inspection_figures.contact_sheet(found, f"Most confident mistakes, {one_split(split)}")


def confused_pairs(
    run: AnyRun, num_pairs: int = 5, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw the commonest confusions, one row of images each."""
    found = samples.confused_pairs(_evaluated(run, split, data), num_pairs)
    return inspection_figures.confused_pairs(found, f"Most confused, {one_split(split)}")


def label_errors(
    run: AnyRun, count: int = 30, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw images of the validation or test split whose labels are suspect; `kilnet.inspect` checks training images."""
    split = one_split(split)
    if split == "train":
        raise InputError("the network was trained on these labels; use `kilnet.inspect` with `num_folds`")
    seen = _evaluated(run, split, data)
    found = suspected_labels(split, seen.images, seen.evaluation.classes, softmax(seen.logits))
    return inspection_figures.suspected_labels(found[:count], f"Suspected labels, {split}")


def _dataset(data: Data, settings: Mapping[str, Any] | None, seed: int) -> tuple[ImageDataset, RunConfig]:
    config = requested(data, None, None, settings, None, seed, None)
    with ProgressDisplay() as display:
        return in_memory(data, config.data, display.advance).sealed(), config


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{name} is {value}; it must be at least 1")
    return value


def _recorded(run: AnyRun, split: str) -> Evaluation:
    run, split = opened(run), one_split(split)
    if split not in (entries := run.evaluations()):
        raise InputError(
            f"{run.folder}: the {split} split has not been evaluated; `kilnet.evaluate` does that"
        )
    return Evaluation.from_dict(entries[split])


def _with_data(run: AnyRun, data: Data | None) -> Run:
    run = opened(run)
    run.classifier.settings.apply()
    with ProgressDisplay() as display:
        display.warn(run.own_data(data, progress=display.advance).warnings)
    return run


def _evaluated(run: AnyRun, split: str, data: Data | None) -> EvaluatedSplit:
    return evaluated(_with_data(run, data), one_split(split))
