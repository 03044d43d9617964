"""Which images of a split a page carries: all would be too many."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.seeding import generator

_SAMPLES = 30
_MISTAKES = 30

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network said of a split, an entry an image.

    Attributes:
        names: as in the data set.
        truth, predicted: int64 (num_images,), indices into the class names.
        confidence: float64 (num_images,), the probability of the predicted class.
    """

    names: tuple[str, ...]
    truth: Indices
    predicted: Indices
    confidence: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Selection:
    """The images of a page; all lists hold places in `indices`.

    Attributes:
        indices: int64 (num_selected,), images of the split, in its order.
        cells: by (truth, predicted), the least confident first where they agree, else the most confident.
        samples: drawn at random.
        mistakes: the most confident ones.
    """

    indices: Indices
    cells: dict[tuple[int, int], list[int]]
    samples: list[int]
    mistakes: list[int]


def select(predictions: Predictions, most: int, seed: int = 0) -> Selection:
    """Choose about `most` images: some at random, the worst mistakes, and equally many of each cell.

    Args:
        predictions: of the whole split.
        most: images; the cells share what samples and mistakes leave.
        seed: of the random ones.
    """
    truth, predicted, confidence = predictions.truth, predictions.predicted, predictions.confidence
    num_images = len(truth)
    samples = generator(seed, "samples").permutation(num_images)[:_SAMPLES]
    wrong = np.flatnonzero(truth != predicted)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]

    order = np.lexsort((np.where(truth == predicted, confidence, -confidence), predicted, truth))
    starts = np.flatnonzero(np.diff(truth[order], prepend=-1) | np.diff(predicted[order], prepend=-1))
    cells = np.split(order, starts[1:]) if num_images else []
    share = _share([len(cell) for cell in cells], most - len(samples) - len(mistakes))
    shown = [cell[:share] for cell in cells]

    indices = np.unique(np.concatenate([samples, mistakes, *shown])).astype(np.int64)
    return Selection(
        indices,
        {
            (int(truth[cell[0]]), int(predicted[cell[0]])): np.searchsorted(indices, cell).tolist()
            for cell in shown
            if len(cell)
        },
        np.searchsorted(indices, samples).tolist(),
        np.searchsorted(indices, mistakes).tolist(),
    )


def _share(sizes: list[int], most: int) -> int:
    """Return how many each may take so that all together take at most `most`."""
    share = 0
    while share < max(sizes, default=0) and sum(min(size, share + 1) for size in sizes) <= most:
        share += 1
    return share
