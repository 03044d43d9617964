"""The best trials, trained again with other seeds, and compared over seeds and images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from kilnet.metrics.intervals import CONFIDENCE_LEVEL, wilson_interval
from kilnet.tuning.trial import Trial

Correct = npt.NDArray[np.bool_ | np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and images with its 95% interval: of an accuracy from 0 to 1, of a difference from -1 to 1.

    With one seed the interval covers other images, but not other seeds.
    """

    mean: float
    low: float
    high: float
    num_seeds: int


@dataclass(frozen=True)
class Final:
    """One finalist, by its number as a trial.

    Attributes:
        number: of the trial.
        accuracy: validation accuracy over seeds and images; macro recall where trials are chosen by that.
        behind: how much less accurate than the winner, paired; None for the winner.
    """

    number: int
    accuracy: Estimate
    behind: Estimate | None

    @property
    def is_tied(self) -> bool:
        """Whether it is not clearly worse than the winner."""
        return self.behind is None or self.behind.low <= 0


def choose_finalists(trials: Sequence[Trial], marks: Sequence[float], num_finalists: int) -> list[Trial]:
    """Return the best trials, best first: those that passed more rungs first, then by accuracy.

    Args:
        trials: all of a search, each ended.
        marks: epochs at the ends of the rungs; see `kilnet.tuning.halving.rungs`.
        num_finalists: at most this many; those that failed are left out.
    """
    able = [trial for trial in trials if not trial.failed and trial.result() is not None]
    return sorted(able, key=lambda trial: (-sum(map(trial.reached, marks)), *trial.rank()))[:num_finalists]


def compare_finalists(correct: Mapping[int, Mapping[int, Correct]]) -> list[Final]:
    """Rank the finalists by mean accuracy and compare each with the winner.

    Args:
        correct: by trial number and seed, which validation images are classified correctly: bool (num_images,), or
            float64 with weights whose mean is 1. Only seeds that all have are used; finalists without any are left out.
    """
    correct = {number: by_seed for number, by_seed in correct.items() if by_seed}
    if not correct:
        return []
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in correct.values())))
    if not seeds:  # each has failed with another seed: keep the one with the most
        most = max(correct, key=lambda number: len(correct[number]))
        return compare_finalists({most: correct[most]})
    tables = {number: np.stack([by_seed[seed] for seed in seeds]) for number, by_seed in correct.items()}
    ranked = sorted(tables, key=lambda number: (-tables[number].mean(), number))
    best = tables[ranked[0]].astype(np.float64)
    return [
        Final(
            number=number,
            accuracy=estimate(tables[number], lowest=0.0),
            behind=estimate(best - tables[number], lowest=-1.0) if index else None,
        )
        for index, number in enumerate(ranked)
    ]


def estimate(table: npt.NDArray[np.generic], lowest: float | None = None) -> Estimate:
    """Estimate what the mean would be with other seeds and other images.

    Both are samples, crossed with each other: the network of every seed classifies every image. So the variance of the
    mean has a part from the seeds and a part from the images, taken from the mean squares of a two-way table without
    replication (Searle, Casella and McCulloch, 1992, "Variance Components", chapter 4). The degrees of freedom are
    those of Hillis, 2007, "A comparison of denominator degrees of freedom methods for multiple observer ROC
    analysis", for the same table of readers and cases. A table of bool without variance, such as one
    of correct images only, does not tell its own uncertainty; there the images alone give Wilson's interval.

    Args:
        table: bool (num_seeds, num_images), whether each image was classified correctly; or, for a comparison paired
            by seed and image, the difference of two such tables.
        lowest: the least possible mean; by default that of a table of bool, 0, or of a difference, -1.

    Raises:
        ValueError: there is nothing in the table.
    """
    if lowest is None:
        lowest = 0.0 if table.dtype == np.bool_ else -1.0
    table = table.astype(np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"no table of seeds and images: {table.shape}")
    num_seeds, num_images = table.shape
    mean = float(table.mean())
    if num_images == 1:
        return Estimate(mean, lowest, 1.0, num_seeds)
    by_seed, by_image = table.mean(axis=1), table.mean(axis=0)
    square_image = num_seeds * by_image.var(ddof=1)
    if num_seeds == 1:
        variance, freedom = square_image / num_images, math.inf
    else:
        square_seed = num_images * by_seed.var(ddof=1)
        rest = table - by_seed[:, None] - by_image[None, :] + mean
        square_rest = (rest**2).sum() / ((num_seeds - 1) * (num_images - 1))
        total = square_seed + max(square_image - square_rest, 0.0)
        variance = total / table.size
        freedom = (num_seeds - 1) * (total / square_seed) ** 2 if square_seed > 0 else math.inf
    if variance <= 0.0 and lowest == 0.0:
        return Estimate(mean, *wilson_interval(round(mean * num_images), num_images), num_seeds)
    reach = float(stdtrit(freedom, (1 + CONFIDENCE_LEVEL) / 2)) * math.sqrt(variance)
    return Estimate(mean, max(lowest, mean - reach), min(1.0, mean + reach), num_seeds)
