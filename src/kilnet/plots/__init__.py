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
from pathlib import Path
from typing import Any

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import Data, in_memory
from kilnet.errors import InputError
from kilnet.figures import charts as figures
from kilnet.figures import dataset_figures as data_figures
from kilnet.figures import inspection_figures
from kilnet.figures.charts import Figure, Normalise
from kilnet.inspection import features, samples
from kilnet.inspection import filters as filters_of
from kilnet.inspection.label_errors import suspected_labels
from kilnet.metrics import Evaluation, softmax
from kilnet.runs.evaluation import EvaluatedSplit, load_run
from kilnet.runs.evaluation_files import read_evaluations
from kilnet.runs.run import Run, folder_of, own_models
from kilnet.seeding import generator
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.run_folder import RunFolder
from kilnet.verbs.inspect import explanations, picture_to_explain
from kilnet.verbs.opened import OpenedRun, one_split, open_run
from kilnet.verbs.request import requested

AnyRun = Run | str | Path


def training_images(
    data: Data = "cifar10", count: int = 12, *, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> Figure:
    """Draw training images at random, a row a class; `settings` are those of `kilnet.train`."""
    dataset, _ = _dataset(data, settings, seed)
    return data_figures.images_by_class(
        dataset.train,
        dataset.classes,
        _at_least_one("count", count),
        seed,
        f"{dataset.name}, training images",
    )


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
    return data_figures.augmentation(dataset.train, indices, config.augment, seed, num_epochs)


def learning_curves(run: AnyRun) -> Figure:
    """Draw loss and accuracy of training and validation by epoch."""
    return figures.learning_curves([asdict(record) for record in RunFolder(folder_of(run)).history()])


def confusion_matrix(run: AnyRun, split: str = "test", normalise: Normalise = "counts") -> Figure:
    """Draw the confusion matrix of a split that `kilnet.evaluate` has evaluated: "counts", "recall" or "precision"."""
    return figures.confusion_matrix(_evaluation(run, split), normalise)


def per_class(run: AnyRun, split: str = "test") -> Figure:
    """Draw recall and precision of each class of a split that `kilnet.evaluate` has evaluated."""
    return figures.per_class(_evaluation(run, split))


def filters(
    run: AnyRun,
    layer: str | int | None = None,
    channel: int | None = None,
    *,
    all_kernels: bool = False,
    columns: int | None = None,
) -> Figure:
    """Draw the filters of a convolution, by name or by number from 1; see `kilnet.inspection.filters.filters`."""
    grid = filters_of.filters(load_run(folder_of(run), own_models(run, None)), layer, channel, all_kernels)
    return inspection_figures.filters(grid, columns)


def feature_maps(
    run: AnyRun, image: str | int | None = None, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw what each convolution makes of an image: a name of the split, a file, or a place in the split."""
    opened = _open(run, data)
    picture, _, _ = picture_to_explain(opened, one_split(split), image)
    return inspection_figures.feature_maps(features.feature_maps(opened.classifier, picture))


def attribution(
    run: AnyRun,
    image: str | int | None = None,
    target: str | int | None = None,
    *,
    split: str = "validation",
    data: Data | None = None,
) -> Figure:
    """Draw which parts of an image speak for a class: by default the predicted one, and the label where they differ."""
    opened = _open(run, data)
    picture, name, truth = picture_to_explain(opened, one_split(split), image)
    explained = explanations(opened.classifier, picture, target, truth)
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
    """Draw the commonest confusions, a row of images each."""
    found = samples.confused_pairs(_evaluated(run, split, data), num_pairs)
    return inspection_figures.confused_pairs(found, f"Most confused, {one_split(split)}")


def label_errors(
    run: AnyRun, count: int = 30, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw images of the validation or test split whose labels are suspected; of training images `inspect` does."""
    if one_split(split) == "train":
        raise InputError("the network was trained on these labels; use kilnet.inspect(run, num_folds=...)")
    evaluated = _evaluated(run, split, data)
    found = suspected_labels(
        one_split(split), evaluated.images, evaluated.evaluation.classes, softmax(evaluated.logits)
    )
    return inspection_figures.suspected_labels(found[:count], f"Suspected labels, {one_split(split)}")


def _dataset(data: Data, settings: Mapping[str, Any] | None, seed: int) -> tuple[ImageDataset, RunConfig]:
    config = requested(data, None, None, settings, None, seed, None)
    with ProgressDisplay() as display:
        return in_memory(data, config.data, display.advance).sealed(), config


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{name} is {value}; it must be at least 1")
    return value


def _open(run: AnyRun, data: Data | None) -> OpenedRun:
    with ProgressDisplay() as display:
        return open_run(run, data, None, display)


def _evaluated(run: AnyRun, split: str, data: Data | None) -> EvaluatedSplit:
    return _open(run, data).evaluated(one_split(split))


def _evaluation(run: AnyRun, split: str) -> Evaluation:
    folder, split = folder_of(run), one_split(split)
    entries = read_evaluations(folder)
    if split not in entries:
        raise InputError(f"{folder}: the {split} split has not been evaluated; kilnet evaluate does that")
    return Evaluation.from_dict(entries[split])
