"""An order of classes in which those that a network confuses stand beside each other."""

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

_MAX_OPTIMAL = (
    200  # classes; the best order of the leaves takes a second there, and grows with the third power
)


def order_by_likeness(confusion: npt.NDArray[np.int64]) -> list[int]:
    """Return the classes so that clusters of confused ones are together.

    The likeness of two classes is the share of their images that is taken for the other one. The order is that of the
    leaves of average linkage, turned by Bar-Joseph et al. 2001, "Fast optimal leaf ordering for hierarchical
    clustering", where there are few enough classes for it.

    Args:
        confusion: int64 (num_classes, num_classes), images; rows are the truth.
    """
    if len(confusion) < 3:
        return list(range(len(confusion)))
    mistaken = (confusion + confusion.T).astype(np.float64)
    support = confusion.sum(1)
    likeness = mistaken / np.maximum(support[:, None] + support[None, :], 1)
    distances = 1 - likeness
    np.fill_diagonal(distances, 0)
    condensed = squareform(distances, checks=False)
    tree = linkage(condensed, "average")
    if len(confusion) <= _MAX_OPTIMAL:
        tree = optimal_leaf_ordering(tree, condensed)
    return [int(leaf) for leaf in leaves_list(tree)]
