"""Which pictures without labels to label next: those that would change the network most, spread out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.seeding import generator

Rows = npt.NDArray[np.floating[Any]]


def next_to_label(probabilities: Rows, features: Rows, count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return the places of pictures to label next, the most wanted first.

    The rule is BADGE (Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds",
    algorithm 1): each picture stands for the gradient of the last layer's loss, were the most probable class its label.
    That is long where the network is uncertain. Pictures are drawn as k-means++ draws its centres (Arthur and
    Vassilvitskii 2007), with a probability that grows with the squared distance to those that are drawn already, so
    that near-copies are not drawn together. The first is the one with the longest gradient.

    Args:
        probabilities: (num_pictures, num_classes).
        features: (num_pictures, num_features), what the last layer gets.
        count: how many; fewer are returned where there are no more that differ.
        seed: of the draws.
    """
    slopes = probabilities.astype(np.float64)
    slopes[np.arange(len(slopes)), slopes.argmax(1)] -= 1
    seen = features.astype(np.float64)
    # A gradient is the product of a column of `slopes` and a row of `seen`: distances need not hold it.
    lengths = (slopes**2).sum(1) * (seen**2).sum(1)
    distances, chosen = lengths.copy(), [int(lengths.argmax())]
    random = generator(seed, "next to label")
    while len(chosen) < min(count, len(slopes)):
        last = chosen[-1]
        to_last = lengths + lengths[last] - 2 * (slopes @ slopes[last]) * (seen @ seen[last])
        distances = (
            np.minimum(distances, np.maximum(to_last, 0)) if len(chosen) > 1 else np.maximum(to_last, 0)
        )
        distances[distances <= 1e-9 * lengths.max()] = 0  # rounding
        distances[chosen] = 0
        if not distances.any():
            break
        chosen.append(int(random.choice(len(distances), p=distances / distances.sum())))
    return np.array(chosen, np.int64)
