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
        fold_of = folds(dataset.train, num_folds, config.data.split_seed)
        self._parts = [(files.fold(k + 1, num_folds), np.flatnonzero(fold_of == k)) for k in range(num_folds)]

    def __iter__(self) -> Iterator[Fold]:
        train = self._dataset.train
        for number, (files, held_out) in enumerate(self._parts, 1):
            rest = np.setdiff1d(np.arange(len(train)), held_out)
            dataset = replace(self._dataset, train=train.take(rest))
            session = TrainingSession(dataset, self._config, files.path, own_models=self._own_models)
            yield Fold(number, held_out, session)

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
