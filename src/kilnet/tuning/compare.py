"""Is one configuration better than another? Over seeds and images at once, so that neither is taken for certain."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from kilnet.metrics import CONFIDENCE_LEVEL


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and images, between -1 and 1, with its 95% interval.

    With one seed the interval covers other images, but not other seeds.
    """

    mean: float
    low: float
    high: float
    num_seeds: int


def estimate(table: npt.NDArray[np.generic]) -> Estimate:
    """Estimate what the mean would be with other seeds and other images.

    Both are samples, crossed with each other: the network of every seed judges every image. So the variance of the
    mean has a part from the seeds and a part from the images, taken from the mean squares of a two-way table without
    replication (Searle, Casella and McCulloch, 1992, "Variance Components", chapter 4). The degrees of freedom are
    those of Hillis, 2007, "A comparison of denominator degrees of freedom methods for multiple observer ROC
    analysis", for the same table of readers and cases.

    Args:
        table: bool (num_seeds, num_images), whether each image was classified rightly; or, for a comparison paired by
            seed and image, the difference of two such tables.

    Raises:
        ValueError: there is nothing in the table.
    """
    table = table.astype(np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"no table of seeds and images: {table.shape}")
    num_seeds, num_images = table.shape
    mean = float(table.mean())
    if num_images == 1:
        return Estimate(mean, -1.0, 1.0, num_seeds)
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
    reach = float(stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, freedom)) * math.sqrt(variance)
    return Estimate(mean, max(-1.0, mean - reach), min(1.0, mean + reach), num_seeds)
