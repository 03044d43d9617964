"""What a classifier got right and wrong on labelled images: counts first, every ratio from the counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError
from kilnet.metrics.class_counts import Counts, Ratios, imbalance, macro_recall_interval
from kilnet.metrics.intervals import CONFIDENCE_LEVEL, wilson_interval
from kilnet.metrics.logits import UNSCALED, LogitScale, scored
from kilnet.metrics.notebook import DataFrame, data_frame, evaluation_facts, facts_html

NUM_CALIBRATION_BINS = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks", section 5


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model got right and wrong on one split.

    A ratio without a denominator (the recall of a class without images, the precision of a class that was
    never predicted) is NaN. In macro averages it counts as 0, so that no class is left out: scikit-learn's
    `zero_division=0`.

    Attributes:
        split: "validation", "test" or the name of other data.
        classes: class names, in the order of the labels.
        confusion: int64 (num_classes, num_classes), images; rows are the truth, columns the prediction.
        loss_sum: sum of the cross-entropies in nats, without label smoothing.
        bin_num_images: int64 (15,), images by confidence; bin b holds (b/15, (b+1)/15].
        bin_num_correct: int64 (15,), those of them that are right.
        bin_confidence_sum: float64 (15,), sum of their confidences.
        scale: what the logits went through for these confidences, not for the loss.
        uncalibrated_error: the calibration error of the confidences without it; None if that is all there is.
    """

    split: str
    classes: tuple[str, ...]
    confusion: Counts
    loss_sum: float
    bin_num_images: Counts
    bin_num_correct: Counts
    bin_confidence_sum: Ratios
    scale: LogitScale = UNSCALED
    uncalibrated_error: float | None = None

    @classmethod
    def from_logits(
        cls,
        split: str,
        classes: Sequence[str],
        logits: npt.NDArray[np.floating[Any]],
        labels: Counts,
        scale: LogitScale = UNSCALED,
    ) -> "Evaluation":
        """Count what the largest logit gets right; of equal logits the first wins.

        Args:
            split: name of the data.
            classes: class names.
            logits: floating point (num_images, num_classes).
            labels: int64 (num_images,), indices into `classes`.
            scale: what logits go through before they become confidences.

        Raises:
            InputError: shapes, labels and classes do not match.
            DivergedError: a logit is NaN or infinite.
        """
        if scale != UNSCALED:
            raw = cls.from_logits(split, classes, logits, labels)
            after = cls.from_logits(split, classes, scale(logits), labels)
            return replace(
                after,
                confusion=raw.confusion,
                loss_sum=raw.loss_sum,
                scale=scale,
                uncalibrated_error=raw.calibration_error,
            )
        predicted, confidence, losses = scored(split, len(classes), logits, labels)
        confusion = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(confusion, (labels, predicted), 1)
        # Bins are open on the left, as in Guo et al. 2017, so that confidence 1 falls into the last one.
        inner_edges = np.arange(1, NUM_CALIBRATION_BINS) / NUM_CALIBRATION_BINS
        bins = np.searchsorted(inner_edges, confidence, side="left")
        num_images, num_correct, confidence_sum = (
            np.bincount(bins, weights, NUM_CALIBRATION_BINS)
            for weights in (None, predicted == labels, confidence)
        )
        return cls(
            split=split,
            classes=tuple(classes),
            confusion=confusion,
            loss_sum=float(losses.sum()),
            bin_num_images=num_images.astype(np.int64),
            bin_num_correct=num_correct.astype(np.int64),
            bin_confidence_sum=confidence_sum.astype(np.float64),
        )

    def __repr__(self) -> str:
        return f"Evaluation({self.split}: {evaluation_facts(self)['accuracy']})"

    def _repr_html_(self) -> str:
        return facts_html(f"evaluation of {self.split}", evaluation_facts(self))

    def to_frame(self) -> DataFrame:
        """Return `per_class` as a pandas DataFrame, one row per class; raises InputError where pandas is missing."""
        return data_frame(self.per_class())

    @property
    def num_images(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def num_correct(self) -> int:
        """Number of images whose predicted class is the true one."""
        return int(self.confusion.trace())

    @property
    def loss(self) -> float:
        """Mean cross-entropy per image, in nats."""
        return self.loss_sum / self.num_images if self.num_images else math.nan

    @property
    def accuracy(self) -> float:
        """Fraction of images that are right."""
        return self.num_correct / self.num_images if self.num_images else math.nan

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95% Wilson interval of `accuracy`."""
        return wilson_interval(self.num_correct, self.num_images)

    @property
    def support(self) -> Counts:
        """int64 (num_classes,), images of each class."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def num_predicted(self) -> Counts:
        """int64 (num_classes,), images predicted as each class."""
        return np.asarray(self.confusion.sum(axis=0))

    @property
    def num_correct_per_class(self) -> Counts:
        """int64 (num_classes,), images of each class that are right."""
        return self.confusion.diagonal()

    @property
    def recall(self) -> Ratios:
        """float64 (num_classes,), the part of a class's images that was found: its accuracy."""
        return _ratio(self.num_correct_per_class, self.support)

    @property
    def precision(self) -> Ratios:
        """float64 (num_classes,), the part of the images predicted as a class that belongs to it."""
        return _ratio(self.num_correct_per_class, self.num_predicted)

    @property
    def f1(self) -> Ratios:
        """float64 (num_classes,), harmonic mean of precision and recall; 0 where only one of them exists."""
        return _ratio(2 * self.num_correct_per_class, self.support + self.num_predicted)

    @property
    def macro_recall(self) -> float:
        """Mean of the classes' recalls: the accuracy if all classes had equally many images."""
        return self._macro(self.recall)

    @cached_property
    def macro_recall_interval(self) -> tuple[float, float]:
        """95% interval of `macro_recall`; see `kilnet.metrics.class_counts`."""
        return macro_recall_interval(self.num_correct_per_class, self.support, CONFIDENCE_LEVEL)

    @property
    def without_images(self) -> tuple[str, ...]:
        """Classes of which there are no images, so that their recall is not known."""
        return self._named(self.support == 0)

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """Classes that have images and are predicted for none."""
        return self._named((self.support > 0) & (self.num_predicted == 0))

    @property
    def majority_class(self) -> str:
        """The class with the most images; of equals the first."""
        return self.classes[int(self.support.argmax())]

    @property
    def majority_share(self) -> float:
        """The accuracy of whoever always says `majority_class`."""
        return float(self.support.max() / self.num_images) if self.num_images else math.nan

    @property
    def imbalance(self) -> float:
        """How many times the images of the rarest class the commonest has."""
        return imbalance(self.support)

    def _named(self, chosen: npt.NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(self.classes[index] for index in np.flatnonzero(chosen))

    def _macro(self, ratios: Ratios) -> float:
        return float(np.nan_to_num(ratios).mean()) if self.num_images else math.nan

    @property
    def macro_precision(self) -> float:
        """Mean of the classes' precisions."""
        return self._macro(self.precision)

    @property
    def macro_f1(self) -> float:
        """Mean of the classes' F1 scores."""
        return self._macro(self.f1)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean gap between confidence and accuracy, over 15 bins of confidence.

        Source: Guo et al. 2017, equation 3. Each bin's weight cancels the denominators of its two means.
        """
        if not self.num_images:
            return math.nan
        return float(np.abs(self.bin_num_correct - self.bin_confidence_sum).sum()) / self.num_images

    def most_confused(self, k: int) -> list[tuple[str, str, int]]:
        """Return the `k` commonest mistakes as (truth, predicted, number of images), commonest first."""
        mistakes = self.confusion.copy()
        np.fill_diagonal(mistakes, 0)
        commonest = np.argsort(-mistakes, axis=None, kind="stable")[:k]
        pairs = zip(*np.unravel_index(commonest, mistakes.shape), strict=True)
        return [
            (self.classes[truth], self.classes[predicted], int(mistakes[truth, predicted]))
            for truth, predicted in pairs
            if mistakes[truth, predicted]
        ]

    def per_class(self) -> list[dict[str, Any]]:
        """Return one JSON-able row per class: its counts and ratios; an undefined ratio is None."""
        columns = {
            "class": self.classes,
            "support": self.support.tolist(),
            "num_predicted": self.num_predicted.tolist(),
            "num_correct": self.num_correct_per_class.tolist(),
            "recall": [_number(ratio) for ratio in self.recall],
            "precision": [_number(ratio) for ratio in self.precision],
            "f1": [_number(ratio) for ratio in self.f1],
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Return counts and ratios as JSON-able values; an undefined ratio is None."""
        return {
            "split": self.split,
            "classes": list(self.classes),
            "num_images": self.num_images,
            "num_correct": self.num_correct,
            "accuracy": _number(self.accuracy),
            "accuracy_interval": list(self.accuracy_interval),
            "confidence_level": CONFIDENCE_LEVEL,
            "loss": _number(self.loss),
            "loss_sum": self.loss_sum,
            "macro_recall": _number(self.macro_recall),
            "macro_recall_interval": list(self.macro_recall_interval),
            "macro_precision": _number(self.macro_precision),
            "macro_f1": _number(self.macro_f1),
            "majority_class": self.majority_class,
            "majority_share": _number(self.majority_share),
            "num_never_predicted": len(self.never_predicted),
            "never_predicted": list(self.never_predicted),
            "without_images": list(self.without_images),
            "calibration_error": _number(self.calibration_error),
            "uncalibrated_error": self.uncalibrated_error,
            "temperature": self.scale.temperature,
            "power": self.scale.power,
            "per_class": self.per_class(),
            "confusion": self.confusion.tolist(),
            "calibration_bins": {
                "num_images": self.bin_num_images.tolist(),
                "num_correct": self.bin_num_correct.tolist(),
                "confidence_sum": self.bin_confidence_sum.tolist(),
            },
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Evaluation":
        """Read back what `to_dict` returned; only the counts are read.

        Raises:
            InputError: `content` is not an evaluation.
        """
        try:
            bins = content["calibration_bins"]
            evaluation = cls(
                split=content["split"],
                classes=tuple(content["classes"]),
                confusion=np.array(content["confusion"], np.int64),
                loss_sum=float(content["loss_sum"]),
                bin_num_images=np.array(bins["num_images"], np.int64),
                bin_num_correct=np.array(bins["num_correct"], np.int64),
                bin_confidence_sum=np.array(bins["confidence_sum"], np.float64),
                scale=LogitScale(float(content.get("temperature", 1)), float(content.get("power", 1))),
                uncalibrated_error=content.get("uncalibrated_error"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not an evaluation: {type(error).__name__}: {error}; evaluate again") from None
        if evaluation.confusion.shape != (len(evaluation.classes),) * 2:
            raise InputError(
                "not an evaluation: the confusion matrix does not fit the classes; evaluate again"
            )
        return evaluation


def _ratio(numerator: Counts, denominator: Counts) -> Ratios:
    ratios = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratios, where=denominator > 0)
    return ratios


def _number(ratio: float) -> float | None:
    return None if math.isnan(ratio) else float(ratio)
