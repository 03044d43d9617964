"""What a network says of each image of a split, one row per image."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError
from kilnet.metrics.class_counts import Counts
from kilnet.metrics.logits import UNSCALED, LogitScale, scored, softmax


class PredictionRow(NamedTuple):
    """One image: name, true and predicted class, the prediction's probability, loss in nats, probability at first."""

    name: str
    truth: str
    predicted: str
    confidence: float
    loss: float
    uncalibrated_confidence: float


def prediction_rows(
    classes: Sequence[str],
    names: Sequence[str],
    logits: npt.NDArray[np.floating[Any]],
    labels: Counts,
    scale: LogitScale = UNSCALED,
) -> Iterator[PredictionRow]:
    """Return one row per image, in the order of `names`; the arguments are those of `Evaluation.from_logits`.

    Raises:
        InputError: shapes, labels, names and classes do not match.
        DivergedError: a logit is NaN or infinite.
    """
    if len(names) != len(labels):
        raise InputError(f"{len(names)} names and {len(labels)} labels do not match")
    predicted, confidence, losses = scored("predictions", len(classes), logits, labels)
    truths, guesses = ([classes[label] for label in column] for column in (labels, predicted))
    calibrated = confidence if scale == UNSCALED else softmax(scale(logits)).max(axis=1, initial=0.0)
    columns = (calibrated.tolist(), losses.tolist(), confidence.tolist())
    return map(PredictionRow, names, truths, guesses, *columns)
