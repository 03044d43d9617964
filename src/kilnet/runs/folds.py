"""Predictions of training images by networks that have not seen them."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.splits import folds
from kilnet.inference.classifier import load_classifier
from kilnet.training.run_folder import RunFolder
from kilnet.training.session import TrainingSession


@dataclass(frozen=True, eq=False)
class Fold:
    """One part of the training images, and the training of a network on the others.

    Attributes:
        number: from 1.
        indices: int64, places of the part in the training split.
        session: iterate to train, or to resume a training that was interrupted.
    """

    number: int
    indices: npt.NDArray[np.int64]
    session: TrainingSession


class CrossValidation:
    """K trainings of one configuration, each without one K-th of the training images, which it then predicts.

    Iterate for the folds and run each fold's session to its end; then `logits` has a prediction for every training
    image. The epoch whose weights are kept is chosen on the data set's own validation split, so that the images that
    are predicted have no part in it. Killed at any moment, the same call resumes.

    Attributes:
        fold_of: int64 (num_images,), the fold of each training image, from 0.

    Args:
        dataset: its train and validation splits are used.
        config: how to train.
        files: of the run whose folds they are.
        num_folds: K.
        own_models: see `kilnet.models.complete`.

    Raises:
        DataError: fewer than two folds, or more than images.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        config: RunConfig,
        files: RunFolder,
        num_folds: int,
        own_models: Set[str] = frozenset(),
    ) -> None:
        self._dataset, self._config, self._own_models = dataset.sealed(), config, own_models
        self.fold_of = folds(dataset.train, num_folds, config.data.split_seed)
        self._parts = [
            (files.fold(k + 1, num_folds), np.flatnonzero(self.fold_of == k)) for k in range(num_folds)
        ]

    def __iter__(self) -> Iterator[Fold]:
        for number, (files, held_out) in enumerate(self._parts, 1):
            config = self.config_of(files)
            session = TrainingSession(self.without(number), config, files.path, own_models=self._own_models)
            yield Fold(number, held_out, session)

    def without(self, number: int) -> ImageDataset:
        """Return the data set without the training images of a fold, numbered from 1."""
        return replace(
            self._dataset, train=self._dataset.train.take(np.flatnonzero(self.fold_of != number - 1))
        )

    def config_of(self, files: RunFolder, num_threads: int | None = None) -> RunConfig:
        """Return how a fold is trained; one that was begun keeps its number of threads, whoever resumes it."""
        threads = 0 if files.exists else num_threads
        if threads is None:
            return self._config
        hardware = self._config.hardware.model_copy(update={"threads": threads})
        return self._config.model_copy(update={"hardware": hardware})

    def logits(self) -> npt.NDArray[np.float32]:
        """Return float32 (num_images, num_classes), each training image predicted by the network that has not seen it.

        Raises:
            RunFolderError: a fold has not been trained.
        """
        images = self._dataset.train.images
        found = np.empty((len(images), len(self._dataset.classes)), np.float32)
        for files, held_out in self._parts:
            classifier = load_classifier(files.weights_path, own_models=self._own_models)
            found[held_out] = classifier.logits(images[held_out])
        return found
