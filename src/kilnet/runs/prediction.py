"""A trained network asked about pictures: files by the thousand, or what lies in memory."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kilnet.data.fit import to_input
from kilnet.data.walk import Problem, find_files
from kilnet.errors import DataError
from kilnet.hardware import lone_threads
from kilnet.inference.classifier import Classifier
from kilnet.inference.forward import twins
from kilnet.metrics import softmax
from kilnet.runs.calibration import IN_USE, Calibration, read_calibration
from kilnet.runs.evaluation import load_run
from kilnet.training.run_folder import RunFolder

# Files a thread takes at a time: a batch for the network, few enough that all threads have work.
_FILES_PER_BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What a network says of one picture.

    Attributes:
        name: the file's path; "" for a picture in memory.
        classes: all class names, the most probable first.
        probabilities: of `classes`, in the same order; they sum to 1.
        unsure: whether a person should look; None where the run is not calibrated.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    unsure: bool | None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[0]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[0]


@dataclass(frozen=True, eq=False)
class Predictor(Classifier):
    """A trained network that takes pictures of any kind, and says how sure it is.

    Attributes:
        calibration: temperature and threshold, fitted on validation; None where the run has none.
    """

    calibration: Calibration | None = None

    def __call__(self, pictures: Any) -> Any:
        """Classify a picture, or a list of them.

        Args:
            pictures: a path, a Pillow image, or an array or tensor of (height, width), (height, width, channels) or
                (channels, height, width), uint8 or floating point from 0 to 1; or a list, a tuple or an array of
                such. They are scaled as in training.

        Returns:
            A `Prediction`; for several pictures a list of them, in the same order.

        Raises:
            DataError: a picture cannot be used; the message names it.
        """
        several = isinstance(pictures, list | tuple) or getattr(pictures, "ndim", 0) == 4
        names, images = [], []
        for index, picture in enumerate(pictures if several else [pictures]):
            names.append(str(picture) if isinstance(picture, str | Path) else "")
            try:
                images.append(to_input(picture, self.image_shape))
            except DataError as error:
                raise DataError(f"{names[-1] or f'picture {index}'}: {error}") from None
        predictions = self.predictions(names, np.stack(images)) if images else []
        return predictions if several else predictions[0]

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return softmax of `logits` divided by the temperature: float32 (num_images, num_classes)."""
        return self._probabilities(images).astype(np.float32)

    def predictions(self, names: Iterable[str], images: npt.NDArray[np.uint8]) -> list[Prediction]:
        """Return a prediction an image: uint8 (num_images, channels, height, width), of `image_shape`."""
        probabilities = self._probabilities(images)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=1).tolist()
        return [
            Prediction(
                name,
                tuple(self.classes[index] for index in indices),
                tuple(values),
                None if self.calibration is None else self.calibration.unsure(values[0]),
            )
            for name, indices, values in zip(names, order.tolist(), ranked, strict=True)
        ]

    def _probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        return softmax(self.logits(images), 1.0 if self.calibration is None else self.calibration.temperature)


def load_predictor(folder: Path, own_model: str | None = None) -> Predictor:
    """Load the best weights of a run and its calibration; nothing in the folder is executed.

    Raises:
        RunFolderError: there is no run, it has no weights yet, or they are of a network that must be named.
    """
    classifier = load_run(folder, own_model, IN_USE)
    settings = classifier.settings.with_all_threads()
    return calibrated_by(replace(classifier, settings=settings), read_calibration(RunFolder(folder)))


def calibrated_by(classifier: Classifier, calibration: Calibration | None) -> Predictor:
    """Return a network that knows its calibration."""
    return Predictor(**vars(classifier), calibration=calibration)


def predict_files(predictor: Predictor, paths: Iterable[Path | Problem]) -> Iterator[Prediction | Problem]:
    """Classify files by as many threads as `torch.get_num_threads` says, each with files of its own.

    Args:
        paths: read as they are needed; problems are passed on.

    Yields:
        For each path, in order, a prediction, or the reason why there is none.
    """
    num_threads = torch.get_num_threads()
    free: SimpleQueue[Predictor] = SimpleQueue()
    for model in twins(predictor.model, num_threads):
        free.put(replace(predictor, model=model))

    def work(part: tuple[Path | Problem, ...]) -> list[Prediction | Problem]:
        own = free.get()
        try:
            return _classify(own, *_decode(part, own.image_shape))
        finally:
            free.put(own)

    pending: deque[Future[list[Prediction | Problem]]] = deque()
    with lone_threads(num_threads) as pool:
        try:
            remaining = iter(paths)
            while part := tuple(islice(remaining, _FILES_PER_BATCH)):
                pending.append(pool.submit(work, part))
                if len(pending) > num_threads:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def find_pictures(sources: Iterable[str | Path]) -> Iterator[Path | Problem]:
    """Yield files as they are, and for a folder the files below it, sorted, hidden ones left out."""
    for source in map(Path, sources):
        if source.is_dir():
            files, problems = find_files(source)
            yield from files
            yield from (Problem(str(path), reason) for path, reason in problems)
            if not files and not problems:
                yield Problem(str(source), "a folder without files")
        else:
            yield source


def _decode(
    paths: tuple[Path | Problem, ...], image_shape: tuple[int, int, int]
) -> tuple[list[str | Problem], npt.NDArray[np.uint8]]:
    """Return names, with the reason in place of one that cannot be used, and the images of the others."""
    names: list[str | Problem] = []
    images = np.empty((len(paths), *image_shape), np.uint8)
    num_images = 0
    for path in paths:
        if isinstance(path, Problem):
            names.append(path)
            continue
        try:
            images[num_images] = to_input(path, image_shape)
        except DataError as error:
            names.append(Problem(str(path), str(error)))
        else:
            names.append(str(path))
            num_images += 1
    return names, images[:num_images]


def _classify(
    predictor: Predictor, names: list[str | Problem], images: npt.NDArray[np.uint8]
) -> list[Prediction | Problem]:
    usable = [name for name in names if isinstance(name, str)]
    predictions = iter(predictor.predictions(usable, images) if usable else [])
    return [next(predictions) if isinstance(name, str) else name for name in names]
