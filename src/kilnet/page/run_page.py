"""The page of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.config import ModelConfig, RunConfig
from kilnet.data.dataset import ImageDataset, Progress, Split
from kilnet.data.sources import NAMES
from kilnet.errors import InputError, ModelError
from kilnet.inference.classifier import Classifier, images_per_second
from kilnet.inspection.attribution import grad_cams
from kilnet.metrics.classification import Evaluation
from kilnet.models.pretrained import origin
from kilnet.page import evaluation_sections, run_sections
from kilnet.page.album import Album, Predictions, Selection, make_album, num_images_that_fit, select
from kilnet.page.document import render
from kilnet.page.photographs import with_photographs
from kilnet.page.unknown_section import unknown
from kilnet.page.verdict import Cost, Head, cards, verdict
from kilnet.page.without_paths import config_without_paths, environment_without_paths, without_paths
from kilnet.runs.cross_validation import FEW_IMAGES, read_summaries
from kilnet.runs.evaluation import read_calibration, read_evaluations, read_predictions
from kilnet.training.records import EpochRecord
from kilnet.training.run_folder import RunFolder

Entries = Mapping[str, Mapping[str, Any]]

_WORST = 10  # mistakes at the top of the page
_BATCH_SIZE = 64
_CHUNK = 128  # heat maps between two updates of the progress
_TEST_IS_FOR = "The test split is for kilnet evaluate."
_CHOSEN_ON_IT = (
    "The epoch whose weights are kept was chosen on these images, so the true accuracy is probably a little lower. "
    f"{_TEST_IS_FOR}"
)


def run_page(
    folder: RunFolder,
    classifier: Classifier,
    dataset: ImageDataset | None,
    reason: str,
    progress: Progress,
    originals: Path | None = None,
) -> str:
    """Return a run's page as HTML; it says nothing about the folders and the user of this machine.

    Args:
        folder: the run.
        classifier: its best weights.
        dataset: its data; None leaves the pictures out.
        reason: why there is no data.
        progress: told how many heat maps are done.
        originals: the folder of photographs that the data was read from, if there is one.

    Raises:
        RunFolderError: a file of the run is missing or damaged.
    """
    config, environment, history = folder.config(), folder.environment(), folder.history()
    entries = read_evaluations(folder)
    notes = [f"No pictures of the data: {without_paths(reason)}"] if dataset is None else []
    split = "test" if "test" in entries else "validation"
    album, head, parts = None, None, []
    if split in entries:
        evaluation = Evaluation.from_dict(entries[split])
        predictions = _predictions(folder, evaluation)
        images = None if dataset is None else _images(dataset, evaluation, predictions, notes)
        selection, album = _album(classifier, evaluation, predictions, images, notes, progress)
        if images is not None and originals is not None:
            album = with_photographs(album, selection, originals, predictions.names)
        calibration = read_calibration(folder)
        worst = selection.mistakes[:_WORST]
        head = Head(
            verdict(evaluation, calibration), cards(evaluation, calibration, _cost(folder, classifier)), worst
        )
        parts = [
            evaluation_sections.confusion(evaluation, selection),
            evaluation_sections.per_class(evaluation),
            evaluation_sections.calibration(evaluation),
            evaluation_sections.samples(evaluation, selection),
            evaluation_sections.mistakes(evaluation, selection),
        ]
        known = calibration.known if calibration is not None else None
        if dataset is not None and known is not None:
            seen = dataset.validation
            parts.append(unknown(seen, classifier.evidence(seen.images), known, evaluation.classes))
        num_correct, num_images = evaluation.num_correct, evaluation.num_images
    else:
        best = [record for record in history if record.is_best][-1]
        num_correct = best.num_validation_correct
        num_images = int(environment.get("data", {}).get("num_validation", 0))
    notes = [*_notes(config, entries, split), *_of_the_data(folder, config, environment), *notes]
    sections = [
        evaluation_sections.result(split, num_correct, num_images, entries, notes, head),
        run_sections.curves(history, config.training.label_smoothing),
        *parts,
        *run_sections.network(classifier),
        run_sections.repeat(config_without_paths(config), environment_without_paths(environment)),
    ]
    name = folder.path.resolve().name
    return render(name, _subtitle(config.model, environment, history), sections, album)


def _subtitle(model: ModelConfig, environment: Mapping[str, Any], history: list[EpochRecord]) -> str:
    data = environment.get("data", {})
    num_parameters, num_train = environment.get("num_parameters", 0), data.get("num_train", 0)
    num_epochs = history[-1].epoch if history else 0
    return (
        f"{model.name}, {num_parameters:,} parameters, trained for {num_epochs} epochs on {num_train:,} images of "
        f"{data.get('name', 'unknown data')} in {len(data.get('classes', []))} classes"
        + (f"; {weights}" if (weights := origin(model)) else "")
    )


def _cost(folder: RunFolder, classifier: Classifier) -> Cost:
    settings = classifier.settings
    images = np.zeros((_BATCH_SIZE, *classifier.image_shape), np.uint8)
    return Cost(
        images_per_second=images_per_second(classifier, images),
        computed_with=f"{settings.device}, {settings.precision}, threads: {settings.threads}",
        num_parameters=sum(parameter.numel() for parameter in classifier.model.parameters()),
        num_bytes=folder.weights_path.stat().st_size,
    )


def _notes(config: RunConfig, entries: Entries, split: str) -> list[str]:
    if split == "validation":
        return [_TEST_IS_FOR if config.training.keep == "last" else _CHOSEN_ON_IT]
    num_reads = entries[split].get("num_reads", 1)
    if num_reads > 1:
        return [
            f"The test split has been evaluated {num_reads} times. If anything was chosen by an earlier result, this "
            "accuracy is too high."
        ]
    return []


def _of_the_data(folder: RunFolder, config: RunConfig, environment: Mapping[str, Any]) -> list[str]:
    """Say it where the split leaks, and where there are so few images that folds would give a better number."""
    data = environment.get("data", {})
    notes = [
        f"Beware: {without_paths(warning)}."
        for warning in data.get("warnings", [])
        if "split leaks" in warning
    ]
    if found := data.get("corrections"):
        notes.append(f"Corrected data: {without_paths(found['told'])}.")
    num_images = data.get("num_train", 0) + data.get("num_validation", 0)
    if num_images < FEW_IMAGES:
        found = read_summaries(folder)
        notes += [
            f"{summary['num_folds']} folds, each image predicted by a network that has not seen it: accuracy "
            f"{summary['accuracy']:.1%} ({_percent(summary['accuracy_interval'])} from fold to fold)."
            for summary in found
        ]
        if not found:
            source = config.data.source
            is_named = source in NAMES or Path(source).is_absolute()  # else it was in memory
            notes.append(
                f"With {num_images:,} images, folds give a better number than one split: "
                + (run_sections.folds_command(source) if is_named else "kilnet.cross_validate in Python")
            )
    return notes


def _percent(interval: Sequence[float]) -> str:
    return "–".join(f"{100 * bound:.1f}" for bound in interval)


def _predictions(folder: RunFolder, evaluation: Evaluation) -> Predictions:
    rows = read_predictions(folder, evaluation.split)
    numbers = {name: number for number, name in enumerate(evaluation.classes)}
    return Predictions(
        tuple(row.name for row in rows),
        np.array([numbers[row.truth] for row in rows], np.int64),
        np.array([numbers[row.predicted] for row in rows], np.int64),
        np.array([row.confidence for row in rows]),
    )


def _images(
    dataset: ImageDataset, evaluation: Evaluation, predictions: Predictions, notes: list[str]
) -> Split | None:
    """Return the evaluated images; the test split only comes here once `kilnet evaluate` has read it."""
    images = dataset.split(evaluation.split)
    if images.names == predictions.names:
        return images
    changed = f"the {evaluation.split} images have changed since the evaluation"
    notes.append(f"No pictures: {changed}; evaluate again.")
    return None


def _album(
    classifier: Classifier,
    evaluation: Evaluation,
    predictions: Predictions,
    images: Split | None,
    notes: list[str],
    progress: Progress,
) -> tuple[Selection, Album]:
    side = classifier.preprocessing.image_size[0]
    selection = select(predictions, num_images_that_fit(side))
    if images is None:
        return selection, make_album(evaluation.classes, predictions, selection)
    chosen = images.images[selection.indices]
    predicted = classifier.logits(chosen).argmax(1)
    # Another batch size may change a few near ties; more changes mean other weights.
    if np.mean(predicted != predictions.predicted[selection.indices]) > 0.02:
        notes.append("The weights have changed since the evaluation; evaluate again.")
    heat = _heat(classifier, chosen, predictions, selection.indices, notes, progress)
    return selection, make_album(evaluation.classes, predictions, selection, chosen, heat)


def _heat(
    classifier: Classifier,
    images: npt.NDArray[np.uint8],
    predictions: Predictions,
    indices: npt.NDArray[np.int64],
    notes: list[str],
    progress: Progress,
) -> dict[str, npt.NDArray[np.float32]] | None:
    """Return the heat maps for each prediction, and for the truth if it is another class."""
    predicted, truth = predictions.predicted[indices], predictions.truth[indices]
    maps = {kind: np.zeros((len(images), *images.shape[2:]), np.float32) for kind in ("predicted", "truth")}
    try:
        for start in range(0, len(images), _CHUNK):
            part = np.arange(start, min(start + _CHUNK, len(images)))
            wrong = part[predicted[part] != truth[part]]
            maps["predicted"][part] = grad_cams(classifier, images[part], predicted[part])
            maps["truth"][wrong] = grad_cams(classifier, images[wrong], truth[wrong])
            progress("heat maps", int(part[-1]) + 1, len(images))
    except (ModelError, InputError) as error:
        notes.append(f"No heat maps: {error}.")
        return None
    return maps
