"""Images with their predictions: a random sample, the worst mistakes, the images of one confusion."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError, nearest
from kilnet.metrics import PredictionRow, prediction_rows
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.seeding import generator


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
    return samples_at(evaluated, order[:count])


def confident_mistakes(evaluated: EvaluatedSplit, count: int = 30) -> tuple[Sample, ...]:
    """Return the images that the network got wrong, the most confident first."""
    rows = _rows(evaluated)
    wrong = np.array([i for i, row in enumerate(rows) if row.truth != row.predicted], np.int64)
    confidence = np.array([rows[i].confidence for i in wrong])
    return samples_at(evaluated, wrong[np.argsort(-confidence, kind="stable")][:count])


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
    rows = _rows(evaluated)
    found = [i for i, row in enumerate(rows) if (row.truth, row.predicted) == (truth, predicted)]
    found.sort(key=lambda i: -rows[i].confidence)
    return samples_at(evaluated, np.array(found[:count], np.int64))


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


def samples_at(evaluated: EvaluatedSplit, indices: npt.NDArray[np.int64]) -> tuple[Sample, ...]:
    """Return the images at these places of the split, in that order."""
    rows = _rows(evaluated)
    return tuple(
        Sample(
            image=evaluated.images.images[i],
            name=rows[i].name,
            truth=rows[i].truth,
            predicted=rows[i].predicted,
            confidence=rows[i].confidence,
        )
        for i in indices
    )


def _rows(evaluated: EvaluatedSplit) -> list[PredictionRow]:
    images = evaluated.images
    return list(prediction_rows(evaluated.evaluation.classes, images.names, evaluated.logits, images.labels))
