"""Looking inside a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split, one_split
from kilnet.data.inventory import duplicates
from kilnet.data.sources import Data
from kilnet.errors import InputError, InterruptedRunError, ModelError
from kilnet.figures import inspection_figures
from kilnet.figures.inspection_files import InspectionFiles
from kilnet.inference.classifier import Classifier
from kilnet.inspection.attribution import Explanation, explain
from kilnet.inspection.features import feature_maps, filters
from kilnet.inspection.label_errors import SuspectedLabel, WrongShare, label_errors, listed
from kilnet.inspection.layer_table import LayerRow, layer_table
from kilnet.inspection.passes import convolution, convolutions
from kilnet.inspection.samples import (
    ConfusedPair,
    Sample,
    confident_mistakes,
    confused_pairs,
    find_picture,
    sample_predictions,
)
from kilnet.metrics.logits import softmax
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.runs.folds import CrossValidation
from kilnet.runs.run import Run
from kilnet.storage import make_folder
from kilnet.terminal.inventory_tables import DUPLICATES
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.evaluate import evaluated
from kilnet.verbs.winner import opened_or_winner


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found inside a run.

    Attributes:
        folder: the run folder.
        split: where samples and mistakes are from.
        layers: one row per layer, in the order in which the network runs them.
        image: the name of the image whose feature maps and attributions were drawn.
        samples: drawn at random.
        mistakes: the most confident ones.
        confused: the commonest confusions.
        suspects: images whose labels are suspected, the worst first.
        num_labels_checked: images that could have become suspects: those with predictions by a network that was not
            trained on them.
        duplicates: names of equal pictures, by kind.
        files: what was written.
        wrong_labels: by split, the estimated share of wrong labels; see `kilnet.inspection.label_errors`.
    """

    folder: Path
    split: str
    layers: tuple[LayerRow, ...]
    image: str
    samples: tuple[Sample, ...]
    mistakes: tuple[Sample, ...]
    confused: tuple[ConfusedPair, ...]
    suspects: tuple[SuspectedLabel, ...]
    num_labels_checked: int
    duplicates: Mapping[str, Sequence[Sequence[str]]]
    files: tuple[Path, ...]
    wrong_labels: Mapping[str, WrongShare]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pixels as JSON-able values."""
        return {
            "run": str(self.folder),
            "split": self.split,
            "layers": [vars(row) for row in self.layers],
            "image": self.image,
            "samples": _without_pixels(self.samples),
            "mistakes": _without_pixels(self.mistakes),
            "confused": [{**vars(pair), "samples": _without_pixels(pair.samples)} for pair in self.confused],
            "num_labels_checked": self.num_labels_checked,
            "wrong_labels": {name: vars(share) for name, share in self.wrong_labels.items()},
            "suspected_labels": _without_pixels(self.suspects),
            "duplicates": dict(self.duplicates),
            "files": [str(path) for path in self.files],
        }


def inspect(
    run: Run | str | Path,
    *,
    layer: str | int | None = None,
    channel: int | None = None,
    all_kernels: bool = False,
    columns: int | None = None,
    image: str | int | None = None,
    count: int = 30,
    seed: int = 0,
    split: str = "validation",
    num_folds: int | None = None,
    precision: float | None = None,
    recall: float | None = None,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> Inspection:
    """Draw what is inside a run into its `plots/`, with the numbers behind each picture, and return the numbers.

    Filters, feature maps and attributions of an image, sample predictions, the most confident mistakes, the commonest
    confusions, labels that are probably wrong, duplicates, and what each layer costs.

    Args:
        run: what `train` returned, or its folder.
        layer: the convolution whose filters are drawn, by name or by number from 1; by default every one.
        channel: the input channel of its filters, from 0; by default colour, or the first.
        all_kernels: draw every input channel of every filter.
        columns: pictures in a row.
        image: a name of the split, a file, or a place in the split; by default the most confident mistake.
        count: how many samples, mistakes and suspected labels are drawn.
        seed: of the samples.
        split: "validation", "train" or "test"; reading the test split is recorded as `evaluate` does.
        num_folds: check the labels of the training images too, by training so many networks more, each without a part
            of them; they are kept in `folds/` and resume there when interrupted.
        precision: suspect as many labels as leave at least this part of them expected to be wrong.
        recall: suspect as few labels as are expected to hold at least this part of the wrong ones.
        data: the run's data, if it cannot be loaded by its name.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: see `load`.
        progress: whether to show progress on standard error.

    Raises:
        KilnetError: see `kilnet.errors`.
    """
    split = one_split(split)
    for name, value in (("count", count), ("columns", columns)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    with ProgressDisplay(enabled=progress) as display:
        run = opened_or_winner(run, model, display.say)
        classifier = run.classifier
        classifier.settings.apply()
        dataset = run.own_data(data, data_dir, display.advance)
        display.warn(dataset.warnings)
        run.calibrate(dataset)  # or a run that lost its calibration would have other confidences
        names = _layers(classifier, layer, channel, all_kernels)
        grids = [filters(classifier, name, channel, all_kernels) for name in names]
        wanted = None if image is None else find_picture(classifier, dataset, split, image)
        found = evaluated(run, split)
        mistakes = confident_mistakes(found, count)
        picture, name, truth = wanted or _default_picture(found)
        maps = feature_maps(classifier, picture) if grids else ()
        explained = explanations(classifier, picture, None, truth)
        checked = _checked(run, found, num_folds, display)
    labels = {
        name: label_errors(probabilities, images.labels)
        for name, (images, _, probabilities) in checked.items()
    }
    suspects = {
        name: listed(name, *rest, labels[name], labels[name].cut(precision, recall))
        for name, rest in checked.items()
    }
    searched = ("train", "validation", "test") if split == "test" else ("train", "validation")
    equal = dict(zip(DUPLICATES, duplicates(dataset, searched), strict=True))
    layers = layer_table(classifier)
    samples = sample_predictions(found, count, seed)
    confused = confused_pairs(found)

    with run.files.locked():
        make_folder(run.files.plots_path)
        files = InspectionFiles(run.files)
        files.layers(layers)
        for grid in grids:
            files.filters(grid, columns)
        for number, maps_of_layer in enumerate(maps, 1):
            files.feature_maps(maps_of_layer, number, columns)
        files.attribution(inspection_figures.attribution(picture, name, explained, truth), explained)
        files.samples(f"samples-{split}", f"Sample predictions, {split}", samples, columns)
        files.samples(f"mistakes-{split}", f"Most confident mistakes, {split}", mistakes, columns)
        files.confused(f"confused-{split}", f"Most confused, {split}", confused)
        for where, group in suspects.items():
            files.label_errors(f"label-errors-{where}", f"Suspected labels, {where}", group, count)
            files.label_ranking(
                f"label-ranking-{where}", listed(where, *checked[where], labels[where], labels[where].ranking)
            )
        files.duplicates(equal)
    worst = sorted((one for group in suspects.values() for one in group), key=lambda one: -one.suspicion)
    return Inspection(
        folder=run.folder,
        split=split,
        layers=layers,
        image=name,
        samples=samples,
        mistakes=mistakes,
        confused=confused,
        suspects=tuple(worst),
        num_labels_checked=sum(len(images) for images, *_ in checked.values()),
        duplicates=equal,
        files=tuple(files.written),
        wrong_labels={name: found.wrong for name, found in labels.items()},
    )


def picture_to_explain(
    run: Run, split: str, image: str | int | None
) -> tuple[npt.NDArray[np.uint8], str, str | None]:
    """Return pixels, name and label (None for a file) of an image; by default the most confident mistake.

    Raises:
        InputError: there is no such image or file.
    """
    if image is None or split == "test":  # whose reading is recorded
        found = evaluated(run, split)
    if image is None:
        return _default_picture(found)
    return find_picture(run.classifier, run.own_data(), split, image)


def explanations(
    classifier: Classifier, picture: npt.NDArray[np.uint8], target: str | int | None, truth: str | None
) -> tuple[Explanation, ...]:
    """Explain a class; without one the prediction, and the label too where they differ."""
    first = explain(classifier, picture, target)
    if target is not None or truth in (None, first.target):
        return (first,)
    return first, explain(classifier, picture, truth)


Checked = tuple[Split, tuple[str, ...], npt.NDArray[np.float64]]


def _layers(
    classifier: Classifier, layer: str | int | None, channel: int | None, all_kernels: bool
) -> list[str]:
    """Return which convolutions' filters are drawn: all that have the channel, unless one is named."""
    if layer is not None:
        return [convolution(classifier, layer)[0]]
    try:
        known = convolutions(classifier)
    except ModelError:
        if channel is not None or all_kernels:
            raise
        return []
    fitting = [name for name, found in known if channel is None or 0 <= channel < found.weight.shape[1]]
    return fitting or [known[0][0]]  # which is refused with the channels it has


def _default_picture(evaluated: EvaluatedSplit) -> tuple[npt.NDArray[np.uint8], str, str | None]:
    """Return the most confident mistake, or the first image where there is none."""
    images = evaluated.images
    mistakes = confident_mistakes(evaluated, 1)
    place = images.names.index(mistakes[0].name) if mistakes else 0
    return images.images[place], images.names[place], evaluated.evaluation.classes[images.labels[place]]


def _checked(
    run: Run, evaluated: EvaluatedSplit, num_folds: int | None, display: ProgressDisplay
) -> dict[str, Checked]:
    """Return images, classes and probabilities of the splits that networks predicted without training on them."""
    classes, dataset, split = run.classifier.classes, run.own_data(), evaluated.evaluation.split
    checked: dict[str, Checked] = {}
    if num_folds is not None:
        checked["train"] = dataset.train, classes, softmax(held_out(run, num_folds, display))
    if split != "train":
        checked[split] = evaluated.images, classes, softmax(evaluated.logits)
    elif num_folds is None:
        reason = "the network was trained on these images; folds or another split would do"
        display.say(f"no labels are checked: {reason}")
    return checked


def held_out(run: Run, num_folds: int, display: ProgressDisplay) -> npt.NDArray[np.float32]:
    """Train so many networks, as far as they are not there, each without a part of a run's training images.

    Returns:
        float32 (num_images, num_classes), the logits of each image by the network that has not seen it.
    """
    num_epochs = None if run.config.budget.seconds else run.config.training.epochs
    validation = CrossValidation(run.own_data(), run.config, run.files, num_folds, run.own_models)
    for fold in validation:
        if not fold.session.loop.finished:
            display.say(f"fold {fold.number} of {num_folds}: trains without {len(fold.indices):,} images")
        try:
            display.follow(fold.session, num_epochs)
        except InterruptedRunError:
            message = "stopped; the folds are saved; the same again resumes them"
            raise InterruptedRunError(message) from None
    return validation.logits()


def _without_pixels(found: Sequence[Sample | SuspectedLabel]) -> list[dict[str, Any]]:
    return [{key: value for key, value in vars(one).items() if key != "image"} for one in found]
