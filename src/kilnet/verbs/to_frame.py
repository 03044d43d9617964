"""Predictions as a data frame."""

from collections.abc import Iterable

from kilnet.data.class_folders import Problem
from kilnet.inference.classifier import Prediction
from kilnet.metrics.notebook import DataFrame, data_frame


def to_frame(predictions: Iterable[Prediction | Problem] | Prediction) -> DataFrame:
    """Return predictions as a pandas DataFrame, one row per picture.

    The columns are `name`, `label`, `confidence`, `unsure`, `unknown` (None where the run keeps no limit for that) and
    `problem` (why there is no prediction), and the probability of each class under its name with `p: ` before it.

        kilnet.to_frame(kilnet.predict("runs/demo", ["photos/"]))

    Args:
        predictions: what `kilnet.predict` or a classifier returned.

    Raises:
        InputError: pandas is not installed.
    """
    found = [predictions] if isinstance(predictions, Prediction) else predictions
    return data_frame([_row(prediction) for prediction in found])


def _row(found: Prediction | Problem) -> dict[str, object]:
    if isinstance(found, Problem):
        return {
            "name": found.path,
            "label": None,
            "confidence": None,
            "unsure": None,
            "unknown": None,
            "problem": found.reason,
        }
    given = {"name": found.name, "label": found.label, "confidence": found.confidence}
    given |= {"unsure": found.unsure, "unknown": found.unknown}
    probabilities = dict(sorted(zip(found.classes, found.probabilities, strict=True)))
    return {**given, "problem": None, **{f"p: {name}": value for name, value in probabilities.items()}}
