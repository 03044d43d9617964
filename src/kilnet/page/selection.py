"""Which images of a split a page shows; all would be too many."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.seeding import generator

_SAMPLES = 30
_MISTAKES = 30

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a network on a split, one entry per image.

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
    """The images of a page; all lists contain places in `indices`.

    Attributes:
        indices: int64 (num_selected,), images of the split, in its order.
        cells: images by (truth, predicted); the least confident first if the two agree, else the most confident first.
        samples: chosen at random.
        mistakes: the most confident ones.
    """

    indices: Indices
    cells: dict[tuple[int, int], list[int]]
    samples: list[int]
    mistakes: list[int]


def select(predictions: Predictions, most: int, seed: int = 0) -> Selection:
    """Choose about `most` images: some at random, the worst mistakes, and the same number from each cell.

    Args:
        predictions: of the whole split.
        most: number of images; samples and mistakes come first, the cells share the rest.
        seed: of the random images.
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
        indices=indices,
        cells={
            (int(truth[cell[0]]), int(predicted[cell[0]])): np.searchsorted(indices, cell).tolist()
            for cell in shown
            if len(cell)
        },
        samples=np.searchsorted(indices, samples).tolist(),
        mistakes=np.searchsorted(indices, mistakes).tolist(),
    )


def _share(sizes: list[int], most: int) -> int:
    """Return how many images each cell may take so that all cells together take at most `most`."""
    share = 0
    while share < max(sizes, default=0) and sum(min(size, share + 1) for size in sizes) <= most:
        share += 1
    return share
