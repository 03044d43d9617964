"""A trained run, held against images it has not seen."""

import os
from collections.abc import Set
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.config import DataConfig
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import ConfigError, DataError, RunFolderError
from kilnet.hardware import Settings, resolve_device
from kilnet.inference.calibration import TARGET_ACCURACY, Calibration, fit_calibration
from kilnet.inference.classifier import Classifier, load_classifier, match_classes, refuse_unnamed
from kilnet.metrics import Evaluation
from kilnet.runs.evaluation_files import file_digest, read_calibration
from kilnet.storage import write_json
from kilnet.training.run_folder import RunFolder

IN_USE = "fp32"
"""The precision of all that is used, whatever the run was trained in: the same answers here and in an exported file."""


@dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """An evaluation with the images' part in it.

    Attributes:
        evaluation: the counts and what follows from them.
        images: what was evaluated; labels are the network's indices.
        logits: float32 (num_images, num_classes).
    """

    evaluation: Evaluation
    images: Split
    logits: npt.NDArray[np.float32]


def load_run(folder: Path, own_models: Set[str] = frozenset(), precision: str | None = None) -> Classifier:
    """Load the best weights of a run, to compute as the run did; nothing in the folder is executed.

    Where the run's device is not on this machine, the best one that is computes in fp32 instead.

    Args:
        own_models: see `kilnet.models.complete`.
        precision: in place of the run's own.

    Raises:
        RunFolderError: there is no run, it has no weights yet, or they are of a network that must be named.
    """
    run = RunFolder(folder)
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: no such run folder")
    config = run.config()
    refuse_unnamed(config.model, own_models, run.config_path)  # it may be trained from again
    recorded = config.hardware
    settings: Settings | None = None
    with suppress(ConfigError):
        device = resolve_device(recorded.device)
        threads = min(recorded.threads, os.cpu_count() or 1)  # it may have been a larger machine
        settings = Settings(
            device, precision or recorded.precision, recorded.layout, threads, "as in the run"
        )
    return load_classifier(run.weights_path, settings, own_models)


def evaluate_classifier(classifier: Classifier, dataset: ImageDataset, split: str) -> EvaluatedSplit:
    """Evaluate a network on one split of a data set, every image once.

    Args:
        classifier: the network.
        dataset: with the same class names, or some of them, in any order.
        split: "train", "validation", "test", or "all" for the three together.

    Raises:
        InputError: the data has a class that the network does not know.
        DataError: there is no such split, or the images have another shape.
    """
    images = dataset.split(split)
    if len(images) == 0:
        raise DataError(f"{dataset.name}: the {split} split is empty")
    indices = match_classes(classifier, dataset.classes)
    images = replace(images, labels=indices[images.labels])
    logits = classifier.logits(images.images)
    return EvaluatedSplit(
        Evaluation.from_logits(split, classifier.classes, logits, images.labels), images, logits
    )


def data_of_run(
    run: RunFolder, classifier: Classifier, source: str | None, data_dir: str | None
) -> DataConfig:
    """Return which data to evaluate a run on: its own, or other data at the network's image size."""
    own = run.config().data
    if data_dir is not None:
        own = own.model_copy(update={"dir": data_dir})
    if source in (None, own.source):
        return own
    side = classifier.preprocessing.image_size[0]
    return own.model_copy(update={"source": source, "image_size": side, "num_train": None})


def calibrated(run: RunFolder, dataset: ImageDataset, own_models: Set[str] = frozenset()) -> Calibration:
    """Return the calibration of a run's present weights; fit it now and keep it in the run if there is none.

    Args:
        dataset: the run's own; its validation images are read, and no others.
        own_models: see `kilnet.models.complete`.

    Raises:
        RunFolderError, BusyError, StorageError: it cannot be made or kept.
    """
    kept = read_calibration(run)
    if kept is not None and kept.data == dataset.fingerprint:
        return kept
    classifier = load_run(run.path, own_models, IN_USE)
    validation = dataset.validation
    fitted = fit_calibration(
        classifier.logits(validation.images),
        validation.labels,
        classifier.classes,
        weights=file_digest(run.weights_path),
        data=dataset.fingerprint,
    )
    with run.locked():
        write_json(run.calibration_path, {"target_accuracy": TARGET_ACCURACY, **asdict(fitted)})
    return fitted


def load_in_use(folder: Path, own_models: Set[str] = frozenset()) -> Classifier:
    """Load the best weights of a run and its calibration; nothing in the folder is executed.

    Raises:
        RunFolderError: there is no run, it has no weights yet, or they are of a network that must be named.
    """
    classifier = load_run(folder, own_models, IN_USE)
    return replace(
        classifier,
        settings=classifier.settings.with_all_threads(),
        calibration=read_calibration(RunFolder(folder)),
    )
