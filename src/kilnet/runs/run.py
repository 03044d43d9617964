"""One run on disk: opened once, and asked for its weights, its data and its evaluations."""

import os
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet import models
from kilnet.config import DataConfig, RunConfig
from kilnet.data.corrected import corrected
from kilnet.data.corrections import read_corrections
from kilnet.data.dataset import ImageDataset, LabelledImages, Progress, silent
from kilnet.data.sources import NAMES, Data, elsewhere, in_memory, located, to_evaluate
from kilnet.data.splits import first_images
from kilnet.errors import ConfigError, DataError, KilnetError, RunFolderError
from kilnet.hardware import Settings, resolve_device
from kilnet.inference.calibration import Calibration, fit_calibration
from kilnet.inference.classifier import Classifier, load_classifier, refuse_unnamed
from kilnet.metrics.class_counts import log_shares
from kilnet.metrics.intervals import wilson_interval
from kilnet.metrics.notebook import facts_html, interval
from kilnet.runs.evaluation import (
    EvaluatedSplit,
    evaluate_classifier,
    file_digest,
    read_calibration,
    read_evaluations,
    write_calibration,
)
from kilnet.runs.wording import percent
from kilnet.storage import given_path
from kilnet.training.records import EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.training.session import TrainingSession


class Run:
    """A training run on disk. What is asked of it is read when it is first needed, and kept.

    Args:
        folder: its run folder.
        model: "package.module:builder", or the function or class itself, if the run is of a network of your own: only
            what is named is imported.

    Attributes:
        files: where everything lies in the folder.
        own_models: the networks outside Kilnet that the caller has named.
    """

    def __init__(self, folder: str | Path, model: str | models.Builder | None = None) -> None:
        self.files = RunFolder(given_path(folder))
        self.own_models = models.own_models(model)
        self._dataset: ImageDataset | None = None
        self._evaluated: dict[str, EvaluatedSplit] = {}
        self._weights_digest = ""

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        return facts_html(f"run {self.folder.name}", self._facts())

    def _facts(self) -> dict[str, str]:
        """Return what a notebook shows; what cannot be read is left out."""
        facts = {"folder": str(self.folder)}
        with suppress(KilnetError):
            facts["network"] = self.config.model.name
            facts["data"] = str(self.environment.get("data", {}).get("name", self.config.data.source))
            best = self.best
            state = "" if self.finished else ", not finished"
            facts["epochs"] = f"{self.history[-1].epoch}, weights of epoch {best.epoch} are kept{state}"
            low, high = wilson_interval(best.num_validation_correct, best.num_validation)
            facts["validation accuracy"] = f"{percent(best.validation_accuracy)} ({interval(low, high)})"
            for split, entry in self.evaluations().items():
                if split != "validation":
                    facts[f"{split} accuracy"] = (
                        f"{percent(entry['accuracy'])} ({interval(*entry['accuracy_interval'])})"
                    )
        return facts

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return self.files.path

    @cached_property
    def config(self) -> RunConfig:
        """The complete configuration."""
        if not self.folder.is_dir():
            raise RunFolderError(f"{self.folder}: no such run folder")
        return self.files.config()

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware and the data's fingerprint; empty where the file is missing or damaged."""
        return self.files.environment()

    @cached_property
    def history(self) -> tuple[EpochRecord, ...]:
        """One record per epoch."""
        return tuple(self.files.history())

    @property
    def best(self) -> EpochRecord:
        """The record whose weights are kept."""
        if not (kept := [record for record in self.history if record.is_best]):
            raise RunFolderError(
                f"{self.files.history_path}: no epoch in it, so nothing is known of the weights"
            )
        return kept[-1]

    @property
    def num_validation(self) -> int:
        """Images behind each validation accuracy."""
        return self.best.num_validation

    @cached_property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        if (rest := self.files.progress()) is None:
            return False
        patience = self.config.training.patience
        is_over = rest.get("is_over", rest["num_epochs_done"] >= self.config.training.epochs)
        return bool(is_over or (patience is not None and rest["num_bad"] >= patience))

    @cached_property
    def classifier(self) -> Classifier:
        """The best weights; nothing in the folder is executed.

        They compute in fp32, as exported files do, whatever the run was trained in: what is evaluated is what answers
        later. Where the run's device is not on this machine, the best one that is computes.

        Raises:
            RunFolderError: there is no run, it has no weights yet, or they are of a network that must be named.
        """
        # The network's name in config.toml is looked at too, since it may be trained from again.
        refuse_unnamed(self.config.model, self.own_models, self.files.config_path)
        recorded, settings = self.config.hardware, None
        self._weights_digest = file_digest(self.files.weights_path)  # training may write others later
        with suppress(ConfigError):
            settings = Settings(
                device=resolve_device(recorded.device),
                precision="fp32",
                layout=recorded.layout,
                threads=min(recorded.threads, os.cpu_count() or 1),  # it may have been a larger machine
                reason="as in the run, in fp32",
            )
        return load_classifier(self.files.weights_path, settings, self.own_models)

    def calibrated_classifier(self) -> Classifier:
        """Return the best weights for use: by all threads, with any calibration.

        Raises:
            RunFolderError: as for `classifier`, or the calibration is damaged.
        """
        settings = self.classifier.settings.with_all_threads()
        return replace(self.classifier, settings=settings, calibration=read_calibration(self.files))

    @property
    def learned_shares(self) -> npt.NDArray[np.float64]:
        """Logarithms of the shares of the classes that the network answers by, (num_classes,).

        Raises:
            RunFolderError: the run does not tell.
        """
        num_classes = len(self.classifier.classes)
        if self.config.training.balance != "none":
            return log_shares(np.ones(num_classes, np.int64))
        found = self.environment.get("data", {}).get("num_train_per_class", [])
        if len(found) != num_classes:
            raise RunFolderError(
                f"{self.files.environment_path}: does not say how many training images each class has; train again"
            )
        return log_shares(np.array(found))

    def data_config(self, data_dir: str | None = None) -> DataConfig:
        """Return how its data is loaded, from another copy of CIFAR-10 if `data_dir` says where that lies."""
        config = self.config.data
        if config.corrections is not None and self.files.used_corrections_path.exists():
            config = config.model_copy(update={"corrections": str(self.files.used_corrections_path)})
        return config if data_dir is None else config.model_copy(update={"dir": data_dir})

    def own_data(
        self, data: Data | None = None, data_dir: str | None = None, progress: Progress = silent
    ) -> ImageDataset:
        """Return the images that the run was trained and validated on, and its test split.

        Args:
            data: where they are, if they cannot be loaded by their name or have moved.
            data_dir: see `data_config`.
            progress: told how far loading is.

        Raises:
            DataError, DownloadError: they cannot be had, or `data` is something else.
        """
        if data is None and self._dataset is not None:
            return self._dataset
        config = self.data_config(data_dir)
        if data is None:
            refuse_moved(self)
        if isinstance(data, str | Path):
            config = elsewhere(config, data).model_copy(update={"corrections": config.corrections})
        dataset = in_memory(config.source if data is None else data, config, progress)
        if not self.was_trained_on(dataset):
            raise DataError(
                f"{dataset.name}: not the images that {self.folder} was trained on, so its test images may have been; "
                "give those as `data`, or train again"
            )
        self._keep(dataset)
        return dataset

    def other_data(
        self, data: Data, data_dir: str | None = None, progress: Progress = silent
    ) -> ImageDataset | LabelledImages:
        """Return other data at the size of the network's images; a run's own stays as it was trained on.

        Args:
            data, data_dir, progress: as for `own_data`; any number of images of any of the network's classes.
        """
        config = self.data_config(data_dir)
        if isinstance(data, str | Path):
            config = located(elsewhere(config, data))
        num_channels, side, _ = self.classifier.image_shape
        fixed = {"image_size": side, "channels": "grey" if num_channels == 1 else "colour"}
        config = config.model_copy(update={**fixed, "num_train": None})
        dataset = to_evaluate(data, config, self.classifier.classes, progress)
        if isinstance(dataset, ImageDataset):
            dataset = self._as_trained_on(dataset)
            own = replace(dataset, train=first_images(dataset.train, self.config.data.num_train))
            if self.was_trained_on(own):
                self._keep(own)
                return own
        return dataset

    def _as_trained_on(self, dataset: ImageDataset) -> ImageDataset:
        """Return other data with the run's corrections, if they are about it."""
        corrections = self.data_config().corrections
        if corrections is not None and dataset.corrections is None:
            with suppress(DataError):
                return corrected(dataset, read_corrections(given_path(corrections)))
        return dataset

    def was_trained_on(self, dataset: ImageDataset | LabelledImages) -> bool:
        """Whether these are the images that the run was trained and validated on.

        Raises:
            DataError: nobody knows, because environment.json is missing.
        """
        if (known := self.files.fingerprint()) is None:
            raise DataError(
                f"{self.files.environment_path}: missing, so nobody knows what the run was trained on"
            )
        return isinstance(dataset, ImageDataset) and dataset.fingerprint == known

    def evaluated(self, split: str, dataset: ImageDataset | LabelledImages | None = None) -> EvaluatedSplit:
        """Evaluate the network on a split of its own data, or of `dataset`; see `evaluate_classifier`.

        Writes nothing: who reads the test split records that.
        """
        self.classifier.settings.with_all_threads().apply()
        classifier = replace(self.classifier, calibration=read_calibration(self.files))
        if dataset is not None and dataset is not self._dataset:
            return evaluate_classifier(classifier, dataset, split)
        if split not in self._evaluated:
            self._evaluated[split] = evaluate_classifier(classifier, self.own_data(), split)
        return self._evaluated[split]

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Return what has been recorded, by split; see `read_evaluations`."""
        return read_evaluations(self.files)

    def calibrate(self, dataset: ImageDataset) -> Calibration:
        """Return the calibration of the weights; where there is none yet, fit and keep it.

        Args:
            dataset: the run's own; its validation images are read, and no others.

        Raises:
            RunFolderError, BusyError, StorageError: it cannot be made or kept.
        """
        kept = read_calibration(self.files)
        if kept is not None and kept.data == dataset.fingerprint and kept.known is not None:
            return kept
        logits, evidence = self.calibrated_classifier().judged(dataset.validation.images)
        fitted = fit_calibration(logits, evidence, dataset, self._weights_digest)
        with self.files.locked():
            write_calibration(self.files, fitted)
        self._evaluated.clear()  # which have other confidences
        return fitted

    def _keep(self, dataset: ImageDataset) -> None:
        if dataset is not self._dataset:
            self._dataset = dataset
            self._evaluated.clear()


AnyRun = Run | str | Path
"""What a verb takes as a run: what `train` returned, or a run folder."""


def trained(session: TrainingSession) -> Run:
    """Return a run as its training has just left it."""
    run = Run(session.folder.path, session.config.model.name)
    run.config, run.history, run.finished = session.config, tuple(session.loop.history), session.loop.finished
    return run


def refuse_moved(run: Run) -> None:
    """Refuse a run whose folder of pictures is not where it was.

    Raises:
        DataError: there is none.
    """
    source = run.config.data.source
    if source not in NAMES and not given_path(source).exists():
        raise DataError(
            f"{source}: no such folder, and {run.folder} was trained on it; if it has moved, give it as `data`"
        )


def opened(run: AnyRun, model: str | models.Builder | None = None) -> Run:
    """Return what a verb was given as a run.

    Args:
        run: what `train` returned, or a run folder.
        model: see `Run`.
    """
    if isinstance(run, Run):
        run.own_models |= models.own_models(model)
        return run
    return Run(run, model)
