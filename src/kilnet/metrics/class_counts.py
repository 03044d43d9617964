"""What follows from how many images each class has: imbalance, weights, shares, the interval of a macro recall."""

import numpy as np
import numpy.typing as npt

from kilnet.seeding import generator

LARGEST_BALANCED = 5.0
"""Where the commonest class has more than this many times the images of the rarest, accuracy hides the rare ones."""
_NUM_RESAMPLES = 2000
_OVERLAP = 0.9999  # beta of Cui et al. 2019 for long-tailed CIFAR, section 5.2

Counts = npt.NDArray[np.int64]
Ratios = npt.NDArray[np.float64]


def imbalance(num_images: Counts) -> float:
    """Return how many times the images of the rarest class the commonest has; classes without images do not count.

    Args:
        num_images: int64 (num_classes,), images of each class.
    """
    found = num_images[num_images > 0]
    return float(found.max() / found.min()) if len(found) else 1.0


def image_weights(num_images: Counts) -> Ratios:
    """Return what an image of each class counts in the loss; the mean over all images is 1.

    Source: Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", equation 2: of n images that
    partly say the same, (1 - beta^n) / (1 - beta) count, here with beta = 0.9999, and a class is weighted by the
    inverse of that.

    Args:
        num_images: int64 (num_classes,), training images of each class; a class without any weighs 0.

    Returns:
        float64 (num_classes,).
    """
    weights = np.zeros(len(num_images))
    np.divide(1 - _OVERLAP, 1 - _OVERLAP**num_images, out=weights, where=num_images > 0)
    return np.asarray(weights * num_images.sum() / (weights * num_images).sum())


def log_shares(num_images: Counts) -> Ratios:
    """Return the logarithm of each class's share of the images, float64 (num_classes,).

    A class without images counts as half an image, so that its logarithm is finite.
    """
    counted = np.maximum(num_images, 0.5)
    return np.asarray(np.log(counted / counted.sum()))


def macro_recall_interval(num_correct: Counts, num_images: Counts, confidence: float) -> tuple[float, float]:
    """Return an interval of the mean of the classes' recalls; (0, 1) where there are no images.

    Source: Efron 1979, "Bootstrap Methods: Another Look at the Jackknife", percentiles. Each class's images are drawn
    again from themselves, 2,000 times, with the same random numbers each time. Of a class with few images, all right or
    all wrong, this says too little.

    Args:
        num_correct, num_images: int64 (num_classes,); a class without images has a recall of 0.
        confidence: such as 0.95.
    """
    if not num_images.sum():
        return 0.0, 1.0
    shares = num_correct / np.maximum(num_images, 1)
    drawn = generator(0, "macro recall").binomial(num_images, shares, (_NUM_RESAMPLES, len(num_images)))
    means = (drawn / np.maximum(num_images, 1)).mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
