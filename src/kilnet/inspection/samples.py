"""Images with their predictions: a random sample, the worst mistakes, one confusion; and any picture by its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import ImageDataset
from kilnet.data.decode import to_input
from kilnet.errors import DataError, InputError, nearest
from kilnet.inference.classifier import Classifier
from kilnet.inference.prediction_rows import PredictionRow, prediction_rows
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.seeding import generator
from kilnet.storage import given_path


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with truth and prediction.

    Attributes:
        image: uint8 (channels, height, width), as stored, not normalised.
        name: its name in the data set.
        truth, predicted: class names.
        confidence: probability of the predicted class.
    """

    image: npt.NDArray[np.uint8]
    name: str
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True, eq=False)
class ConfusedPair:
    """Images of one class that the network took for another.

    Attributes:
        truth, predicted: class names.
        num_images: number of images of class `truth` that the network took for `predicted`.
        num_of_class: number of images of class `truth`.
        samples: some of these images, the most confident first.
    """

    truth: str
    predicted: str
    num_images: int
    num_of_class: int
    samples: tuple[Sample, ...]


def sample_predictions(evaluated: EvaluatedSplit, count: int = 30, seed: int = 0) -> tuple[Sample, ...]:
    """Return random images; a larger `count` with the same seed begins with the same images."""
    order = generator(seed, "samples").permutation(len(evaluated.images))
    return _samples(evaluated, order[:count].tolist())


def confident_mistakes(evaluated: EvaluatedSplit, count: int = 30) -> tuple[Sample, ...]:
    """Return the images that the network got wrong, the most confident first."""
    return _most_confident(evaluated, count, lambda row: row.truth != row.predicted)


def confused_examples(
    evaluated: EvaluatedSplit, truth: str, predicted: str, count: int = 30
) -> tuple[Sample, ...]:
    """Return the images of class `truth` that the network took for `predicted`, the most confident first.

    Raises:
        InputError: there is no such class.
    """
    classes = evaluated.evaluation.classes
    for name in (truth, predicted):
        if name not in classes:
            raise InputError(f"no class {name!r}{nearest(name, list(classes))}")
    return _most_confident(evaluated, count, lambda row: (row.truth, row.predicted) == (truth, predicted))


def confused_pairs(evaluated: EvaluatedSplit, num_pairs: int = 5, count: int = 6) -> tuple[ConfusedPair, ...]:
    """Return the commonest confusions, the commonest first, with up to `count` images each."""
    evaluation = evaluated.evaluation
    support = dict(zip(evaluation.classes, evaluation.support.tolist(), strict=True))
    return tuple(
        ConfusedPair(
            truth=truth,
            predicted=predicted,
            num_images=number,
            num_of_class=support[truth],
            samples=confused_examples(evaluated, truth, predicted, count),
        )
        for truth, predicted, number in evaluation.most_confused(num_pairs)
    )


def find_picture(
    classifier: Classifier, dataset: ImageDataset, split: str, wanted: str | Path | int
) -> tuple[npt.NDArray[np.uint8], str, str | None]:
    """Return a picture as the network takes it, its name and its label.

    Args:
        classifier: the network.
        dataset: the data that has the split.
        split: name of the split.
        wanted: a number counts the images of the split, from 0. A text is the name of an image of the split, or else a
            file, or else (unless the images are named by numbers) such a number.

    Returns:
        uint8 (channels, height, width); the name; the class name, or None for a file.

    Raises:
        InputError: there is no such image or file, or the file is not a usable picture.
    """
    images, name = dataset.split(split), str(wanted)
    if isinstance(wanted, int):
        place = wanted
    elif name in images.names:
        place = images.names.index(name)
    elif given_path(name).is_file():
        try:
            fitting = classifier.preprocessing.fitting
            pixels = to_input(given_path(name), classifier.image_shape, fitting=fitting)
            return pixels, Path(name).name, None
        except DataError as error:
            raise InputError(f"{wanted}: {error}") from None
    elif name.isdecimal() and not images.names[0].isdecimal():
        place = int(name)
    else:
        raise InputError(
            f"`image={name!r}`: neither a file nor an image of the {split} split, where names are like "
            f"{', '.join(images.names[:3])}"
        )
    if not 0 <= place < len(images):
        raise InputError(f"`image={wanted}`: the {split} split has images 0 to {len(images) - 1}")
    return images.images[place], images.names[place], dataset.classes[images.labels[place]]


def rows_of(evaluated: EvaluatedSplit) -> list[PredictionRow]:
    """Return the row of each image's prediction, in the order of the split."""
    images = evaluated.images
    evaluation = evaluated.evaluation
    seen = images.names, evaluated.logits, images.labels
    return list(prediction_rows(evaluation.classes, *seen, evaluation.scale))


def _most_confident(
    evaluated: EvaluatedSplit, count: int, is_wanted: Callable[[PredictionRow], bool]
) -> tuple[Sample, ...]:
    rows = rows_of(evaluated)
    found = [i for i, row in enumerate(rows) if is_wanted(row)]
    return _samples(evaluated, sorted(found, key=lambda i: -rows[i].confidence)[:count])


def _samples(evaluated: EvaluatedSplit, places: Sequence[int]) -> tuple[Sample, ...]:
    rows, images = rows_of(evaluated), evaluated.images.images
    return tuple(
        Sample(image=images[i], name=name, truth=truth, predicted=predicted, confidence=confidence)
        for i, (name, truth, predicted, confidence, *_) in ((i, rows[i]) for i in places)
    )
