"""How sure a network may say it is: how its logits are scaled, and the confidence below which a person should look."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import ImageDataset
from kilnet.inference.unknown import KnownPictures
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import wilson_interval
from kilnet.metrics.logits import UNSCALED, LogitScale, softmax

TARGET_ACCURACY = 0.95
"""Of the predictions that nobody looks at, so many are right on the validation images."""
# Beyond these the validation images are too few or too easy to say.
_COLDEST, _HOTTEST = 0.1, 10.0
_LEAST_POWER, _MOST_POWER = 0.5, 2.0
_ENOUGH_LOGITS = 200_000  # to tell a power by, which is not worth more seconds


@dataclass(frozen=True)
class Calibration:
    """What the validation images say of a network's confidence.

    Attributes:
        temperature: see `LogitScale`.
        threshold: predictions with a lower confidence are unsure; None, all are.
        num_images, num_correct: validation images, and how many of them are right.
        num_sure, num_sure_correct: those of them that are not unsure.
        loss_before, loss_after: mean cross-entropy in nats without and with the scale.
        calibration_error_before, calibration_error_after: see `Evaluation.calibration_error`.
        weights: SHA-256 of the file of weights.
        data: the data set's fingerprint.
        known: what pictures of none of the classes are told from; None in a file of an earlier version.
        power: see `LogitScale`.
    """

    temperature: float
    threshold: float | None
    num_images: int
    num_correct: int
    num_sure: int
    num_sure_correct: int
    loss_before: float
    loss_after: float
    calibration_error_before: float
    calibration_error_after: float
    weights: str
    data: str
    known: KnownPictures | None = None
    power: float = 1.0

    def __post_init__(self) -> None:
        LogitScale(self.temperature, self.power)  # refuses what is none
        if not (self.threshold is None or (isinstance(self.threshold, float) and 0 <= self.threshold <= 1)):
            raise ValueError(f"threshold {self.threshold!r}")
        if (
            self.threshold is not None
            and not 0 <= self.num_sure_correct <= self.num_sure <= self.num_images != 0
        ):
            raise ValueError(f"{self.num_sure_correct} of {self.num_sure} of {self.num_images} images")

    @property
    def scale(self) -> LogitScale:
        """What makes the logits those of calibrated confidences."""
        return LogitScale(self.temperature, self.power)

    def unsure(self, confidence: float) -> bool:
        """Whether a person should look at a prediction of this confidence."""
        return self.threshold is None or confidence < self.threshold

    def summary(self) -> str:
        """Return one line for the user: what the scale corrects, and what "unsure" promises."""
        corrected = (
            f"{self.scale}: calibration error on validation "
            f"{self.calibration_error_before:.1%} -> {self.calibration_error_after:.1%}"
        )
        if self.threshold is None:
            return f"{corrected}; no confidence is enough for {TARGET_ACCURACY:.0%} right: all are unsure"
        low, high = wilson_interval(self.num_sure_correct, self.num_sure)
        return (
            f"{corrected}; unsure below {self.threshold:.1%}: of the {self.num_sure:,} of {self.num_images:,} "
            f"images above it {self.num_sure_correct / self.num_sure:.1%} ({low:.1%}–{high:.1%}) are right"
        )


def fit_calibration(
    logits: npt.NDArray[np.float32], evidence: npt.NDArray[np.float32], dataset: ImageDataset, weights: str
) -> Calibration:
    """Fit scale and threshold to what a network says of the validation images of its own data.

    Args:
        logits: float32 (num_validation, num_classes).
        evidence: float32 (num_validation, num_classes + 1), see `Classifier.evidence`.
        dataset: the network's own.
        weights: SHA-256 of the file of weights.
    """
    labels = dataset.validation.labels
    scale = fit_scale(logits, labels)
    scaled = scale(logits)
    before, after = (
        Evaluation.from_logits("validation", dataset.classes, either, labels) for either in (logits, scaled)
    )
    confidence = softmax(scaled).max(1)
    correct = logits.argmax(1) == labels
    threshold = sure_threshold(confidence, correct, TARGET_ACCURACY)
    sure = np.zeros_like(correct) if threshold is None else confidence >= threshold
    return Calibration(
        temperature=scale.temperature,
        power=scale.power,
        threshold=threshold,
        num_images=before.num_images,
        num_correct=before.num_correct,
        num_sure=int(sure.sum()),
        num_sure_correct=int((correct & sure).sum()),
        loss_before=before.loss,
        loss_after=after.loss,
        calibration_error_before=before.calibration_error,
        calibration_error_after=after.calibration_error,
        weights=weights,
        data=dataset.fingerprint,
        known=KnownPictures.fit(evidence),
    )


def fit_scale(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> LogitScale:
    """Return the scale with the least cross-entropy; a power only where the images bear it out.

    That is where the power takes more than half the logarithm of the number of images off the sum of their losses
    (Schwarz 1978, "Estimating the Dimension of a Model"): few images keep to the temperature. Where every image is
    right there is no best scale, and logits stay as they are.

    Args:
        logits, labels: as for `fit_temperature`.
    """
    if _all_right(logits, labels):
        return UNSCALED
    plain = LogitScale(fit_temperature(logits, labels))
    power = _best_power(logits, labels)
    bent = LogitScale(fit_temperature(LogitScale(power=power)(logits), labels), power)
    gain = _loss_sum(plain(logits), labels) - _loss_sum(bent(logits), labels)
    return bent if gain > np.log(len(labels)) / 2 else plain


def _all_right(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> bool:
    return bool((logits[np.arange(len(labels)), labels] >= logits.max(1)).all())


def _loss_sum(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    own = softmax(logits)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).sum())


def _best_power(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> float:
    """Return the power from 0.5 to 2 that goes with the least cross-entropy, with whatever temperature suits it.

    Where the temperature is the best, the loss changes with the power as if the temperature stayed.
    """
    some = slice(None, None, 1 + logits.size // _ENOUGH_LOGITS)
    labels, logits = labels[some], logits[some].astype(np.float64)
    distances = np.abs(logits - logits.mean(axis=1, keepdims=True))
    logs = np.log(distances, where=distances > 0, out=np.zeros_like(distances))

    def slope(power: float) -> float:
        bent = LogitScale(power=power)(logits)
        return _slope(bent / fit_temperature(bent, labels, tolerance=1e-5), logs, labels)

    return _where_it_turns(slope, _LEAST_POWER, _MOST_POWER, 1e-3)


def fit_temperature(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64], tolerance: float = 1e-12
) -> float:
    """Return the temperature from 0.1 to 10 with the least cross-entropy; 1 where every image is right.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. In the inverse temperature the
    cross-entropy is convex, so its one minimum is where the derivative changes its sign; that is found in
    double precision. Where all images are right there is none: the colder the better, without end.

    Args:
        logits: finite, (num_images, num_classes), at least one image.
        labels: int64 (num_images,).
        tolerance: as a part of the temperature.
    """
    if _all_right(logits, labels):
        return 1.0
    exact = logits.astype(np.float64)
    inverse = _where_it_turns(
        lambda inverse: _slope(inverse * exact, 1 / inverse, labels), 1 / _HOTTEST, 1 / _COLDEST, tolerance
    )
    return 1 / inverse


def _slope(
    logits: npt.NDArray[np.float64], rates: npt.NDArray[np.float64] | float, labels: npt.NDArray[np.int64]
) -> float:
    """Return the derivative of the mean cross-entropy where logits change by `rates` of themselves."""
    changes = logits * rates
    expected = (softmax(logits) * changes).sum(1)
    return float((expected - changes[np.arange(len(labels)), labels]).mean())


def _where_it_turns(slope: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Return where a slope turns from negative to positive; the end of the range where it does not.

    The Illinois variant of the rule of false position (Dowell and Jarratt 1971, "A modified regula falsi method for
    computing the root of an equation"), in less than half the steps of bisection.
    """
    at_low, at_high, last = slope(low), slope(high), math.inf
    if at_low >= 0:
        return low
    if at_high <= 0:
        return high
    is_below = is_above = False
    while True:
        point = (low * at_high - high * at_low) / (at_high - at_low)
        if abs(point - last) <= tolerance * point:
            return point
        found, last = slope(point), point
        if found < 0:
            low, at_low, at_high = point, found, at_high / 2 if is_below else at_high
        else:
            high, at_high, at_low = point, found, at_low / 2 if is_above else at_low
        is_below, is_above = found < 0, found >= 0


def sure_threshold(
    confidence: npt.NDArray[np.floating[Any]], correct: npt.NDArray[np.bool_], target: float
) -> float | None:
    """Return the lowest confidence at or above which at least `target` of the images are right.

    Lowest, so that as few as possible need a person. It is a confidence that was met: what is below all of them is
    unsure even where the network is always right.

    Args:
        confidence: floating point (num_images,).
        correct: bool (num_images,).

    Returns:
        The threshold, or None where no confidence is enough.
    """
    order = np.argsort(-confidence, kind="stable")
    confidence, correct = confidence[order], correct[order]
    accuracy = np.cumsum(correct) / np.arange(1, len(correct) + 1)
    last_of_its_value = np.append(confidence[1:] < confidence[:-1], True)  # equal ones stand or fall together
    enough = np.flatnonzero(last_of_its_value & (accuracy >= target))
    return float(confidence[enough[-1]]) if len(enough) else None
