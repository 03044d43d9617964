"""Two networks compared on the same images: is one better, or is it chance?"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError
from kilnet.inference.mcnemar import mcnemar
from kilnet.inspection.samples import rows_of
from kilnet.metrics.intervals import CONFIDENCE_LEVEL, wilson_interval
from kilnet.runs.evaluation import EvaluatedSplit


@dataclass(frozen=True)
class PairedOutcome:
    """On how many of the same images two networks were right.

    Attributes:
        num_both, num_first, num_second, num_neither: number of images that both, only the first, only the second, or
            neither got right.
    """

    num_both: int
    num_first: int
    num_second: int
    num_neither: int

    @property
    def num_images(self) -> int:
        """Number of images."""
        return self.num_both + self.num_first + self.num_second + self.num_neither

    @property
    def difference(self) -> float:
        """Accuracy of the second minus that of the first."""
        return (self.num_second - self.num_first) / self.num_images

    @property
    def p_value(self) -> float:
        """Probability of a difference at least this large if both networks were equally good; see `mcnemar`."""
        return mcnemar(self.num_first, self.num_second)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of `difference`.

        Source: Newcombe 1998, "Improved Confidence Intervals for the Difference between Binomial Proportions Based on
        Paired Data", method 10: the two Wilson intervals, combined by the correlation of the two outcomes. It stays
        within [-1, 1] and is valid for few images.
        """
        both, neither = self.num_both, self.num_neither
        right_second, right_first = both + self.num_second, both + self.num_first
        second, first = right_second / self.num_images, right_first / self.num_images
        low_second, high_second = wilson_interval(right_second, self.num_images)
        low_first, high_first = wilson_interval(right_first, self.num_images)
        wrong_second, wrong_first = self.num_images - right_second, self.num_images - right_first
        spread = right_second * wrong_second * right_first * wrong_first
        agreement: float = both * neither - self.num_first * self.num_second
        if agreement > 0:
            agreement = max(agreement - self.num_images / 2, 0)  # correction for continuity
        correlation = agreement / math.sqrt(spread) if spread else 0.0
        below = _combined(second - low_second, high_first - first, correlation)
        above = _combined(high_second - second, first - low_first, correlation)
        return self.difference - below, self.difference + above

    @property
    def is_clear(self) -> bool:
        """Whether the difference is unlikely to be chance: the p-value of the exact test is below 5%."""
        return self.p_value < 1 - CONFIDENCE_LEVEL


@dataclass(frozen=True, eq=False)
class Disagreement:
    """One image that one network got right and the other wrong.

    Attributes:
        image: uint8 (channels, height, width).
        name: its name in the data set.
        truth, first, second: the class, and the predictions of the two networks.
    """

    image: npt.NDArray[np.uint8]
    name: str
    truth: str
    first: str
    second: str


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values corrected for their number, in the same order.

    Among all pairs whose corrected value is below 5% there is a wrong one in at most 5% of cases, however the tests
    depend on each other.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return tuple(corrected)


def paired_outcome(first: EvaluatedSplit, second: EvaluatedSplit) -> PairedOutcome:
    """Count the images that both, one or neither of two networks got right.

    Raises:
        InputError: they were not evaluated on the same images.
    """
    if first.images.names != second.images.names:
        raise InputError("the two networks were not evaluated on the same images")
    right = [[row.truth == row.predicted for row in rows_of(network)] for network in (first, second)]
    counts = Counter(zip(*right, strict=True))
    return PairedOutcome(
        num_both=counts[True, True],
        num_first=counts[True, False],
        num_second=counts[False, True],
        num_neither=counts[False, False],
    )


def disagreements(first: EvaluatedSplit, second: EvaluatedSplit) -> tuple[Disagreement, ...]:
    """Return the images that one of two networks got right and the other wrong, in the order of the split."""
    rows = zip(first.images.images, rows_of(first), rows_of(second), strict=True)
    return tuple(
        Disagreement(image=image, name=one.name, truth=one.truth, first=one.predicted, second=other.predicted)
        for image, one, other in rows
        if (one.predicted == one.truth) != (other.predicted == one.truth)
    )


def _combined(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))
