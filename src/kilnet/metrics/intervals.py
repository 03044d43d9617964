"""The interval of an accuracy; it needs no numpy, so that lists of runs are quick."""

import math
from statistics import NormalDist

CONFIDENCE_LEVEL = 0.95


def wilson_interval(
    num_correct: int, num_images: int, confidence: float = CONFIDENCE_LEVEL
) -> tuple[float, float]:
    """Return the bounds within which the true accuracy lies, as fractions; (0, 1) where there are no images.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", without
    continuity correction. Unlike p ± z·sqrt(p(1-p)/n) it stays within [0, 1] and holds for few images.

    Raises:
        ValueError: not 0 <= num_correct <= num_images, or not 0 < confidence < 1.
    """
    if not 0 <= num_correct <= num_images:
        raise ValueError(f"{num_correct} correct of {num_images} images cannot be")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")
    if num_images == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    accuracy = num_correct / num_images
    shrink = 1 + z**2 / num_images
    centre = (accuracy + z**2 / (2 * num_images)) / shrink
    half = z / shrink * math.sqrt(accuracy * (1 - accuracy) / num_images + z**2 / (4 * num_images**2))
    # The outer bound of a perfect or a hopeless score is exact; rounding would put it inside the score.
    low = 0.0 if num_correct == 0 else centre - half
    high = 1.0 if num_correct == num_images else centre + half
    return low, high
