"""The last layer of a pretrained network, fitted to what the other layers see in the images."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from kilnet.data.grouped_splits import grouped_folds

# On half the squared weights, against the losses of all images together; features have unit variance on average.
_PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
_NUM_FOLDS = 5
_USUAL_PENALTY = 30.0  # between what ants and bees and what TrashNet prefer
# What the penalty is chosen with: more images, or the directions in which features vary less, hardly change it.
_MOST_IMAGES, _MOST_DIRECTIONS = 2000, 256
_MOST_ITERATIONS = 1000
# What fitting takes, at most, on a core that is shared with another program: seconds, and for each image and class.
_FIT_SECONDS, _FIT_SECONDS_EACH = 3.0, 2e-5


@dataclass(frozen=True)
class FittedHead:
    """How the fitted layer does on the images it was fitted to.

    Attributes:
        penalty: that cross-validation chose.
        left_out_losses: of each image that cross-validation left out and could judge, with this penalty, fold by fold.
        loss_sum, num_correct, num_images: over the training images.
    """

    penalty: float
    left_out_losses: tuple[float, ...]
    loss_sum: float
    num_correct: int
    num_images: int

    @property
    def left_out_loss(self) -> float:
        """The mean of `left_out_losses`; infinite without any."""
        return fmean(self.left_out_losses) if self.left_out_losses else math.inf


def fit_head(
    head: nn.Linear,
    seen: npt.NDArray[np.float16],
    labels: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float32] | None = None,
    shift: npt.NDArray[np.float64] | None = None,
    left: Callable[[], float] | None = None,
    groups: npt.NDArray[np.int64] | None = None,
) -> FittedHead:
    """Fit a last layer by logistic regression, with the L2 penalty that cross-validation prefers.

    Features are brought to unit variance on average, so that one range of penalties suits every network; by one factor
    for all, since what varies little says little (docs/experiments.md, 2026-11-26). They are turned to their principal
    directions, which changes no solution and saves time where there are more features than images; the
    layer's weights undo both. All of it runs on one thread: the same bytes each time, and sooner than on two that wait
    for each other.

    Args:
        head: from features to logits; its weights are replaced.
        seen: (num_images, num_features).
        labels: (num_images,); each class at least once.
        counts: (num_images,), how much each image counts, 1 on average; None, all the same.
        shift: (num_classes,), taken from the biases once they are fitted: the logarithms of the classes' shares let the
            layer answer as if all classes were equally common (Menon et al. 2021, section 4.1).
        left: tells how many seconds there are until the layer has to be there; cross-validation ends early for it, and
            where it has hardly begun, the penalty is the usual one. None, it takes the time that it needs.
        groups: (num_images,), as of `Split`: cross-validation leaves whole groups out, since one picture of a group
            tells what the others are, and the penalty would be too weak for pictures of new ones.
    """
    from threadpoolctl import threadpool_limits  # here, since few runs need it

    with threadpool_limits(1):
        (penalty, left_out_losses), weights, biases = _fitted(
            seen, labels, head.out_features, counts, left, groups
        )
    if shift is not None:
        biases = (biases - shift).astype(np.float32)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(biases))
    losses, num_correct = _losses(seen.astype(np.float32) @ weights.T + biases, labels)
    return FittedHead(
        penalty=penalty,
        left_out_losses=tuple(left_out_losses.tolist()),
        loss_sum=float(losses.sum()),
        num_correct=num_correct,
        num_images=len(labels),
    )


def fit_seconds(num_images: int, num_classes: int) -> float:
    """Return how long `fit_head` takes, roughly and rather too much."""
    return _FIT_SECONDS + _FIT_SECONDS_EACH * num_images * num_classes


def _fitted(
    seen: npt.NDArray[np.float16],
    labels: npt.NDArray[np.int64],
    num_classes: int,
    counts: npt.NDArray[np.float32] | None,
    left: Callable[[], float] | None,
    groups: npt.NDArray[np.int64] | None,
) -> tuple[tuple[float, npt.NDArray[np.float64]], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    flat = seen.astype(np.float32)
    mean, spread = flat.mean(0), float(np.sqrt(flat.var(0).mean())) or 1.0
    flat = (flat - mean) / spread
    variances, directions = np.linalg.eigh(flat.T @ flat)  # the largest last
    directions = directions[:, variances >= 1e-6 * variances[-1]][:, ::-1]
    points = np.ascontiguousarray(flat @ directions)
    fold = _folds(labels[:_MOST_IMAGES], None if groups is None else groups[:_MOST_IMAGES])
    chosen = _best_penalty(points[:_MOST_IMAGES, :_MOST_DIRECTIONS], labels[:_MOST_IMAGES], fold, left)
    solution = _regression(chosen[0], 1e-5).fit(points, labels, counts)
    weights, biases = _for_all_classes(solution, num_classes)
    weights = (weights @ directions.T) / spread
    return chosen, weights, biases - weights @ mean


def _folds(labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
    """Deal images out into folds, as many of each class in each; those of a group stay together."""
    num_groups = 0 if groups is None else len(np.unique(groups))
    if groups is not None and 1 < num_groups < len(groups):
        return grouped_folds(labels, groups, min(_NUM_FOLDS, num_groups), seed=0)
    fold = np.empty(len(labels), np.int64)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % _NUM_FOLDS
    return fold


def _best_penalty(
    points: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    fold: npt.NDArray[np.int64],
    left: Callable[[], float] | None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the penalty with the lowest loss on images that were left out, each once; of classes seen without them.

    Beside it the losses of these images.

    A fold is begun only if, were it as slow as the slowest so far, as much time again would be left for the last fit.
    """
    losses = np.empty((len(_PENALTIES), 0))
    slowest = fit_seconds(len(labels), int(labels.max()) + 1) / _NUM_FOLDS if left else 0.0
    for left_out in range(_NUM_FOLDS):
        if left is not None and left() < 2 * slowest:
            break
        left_before = left() if left else 0.0
        inside = fold != left_out
        known = np.unique(labels[inside])
        judged = ~inside & np.isin(labels, known)
        if len(known) < 2 or not judged.any():
            continue
        share, fitted_to, others = inside.mean(), points[inside], points[judged]
        of_fold = np.empty((len(_PENALTIES), len(others)))
        for index, penalty in enumerate(_PENALTIES):
            solution = _regression(penalty * share, 1e-3).fit(fitted_to, labels[inside])
            weights, biases = _for_all_classes(solution, labels.max() + 1)
            of_fold[index] = _losses(others @ weights.T + biases, labels[judged])[0]
        losses = np.concatenate([losses, of_fold], 1)
        slowest = max(slowest, left_before - left() if left else 0.0)
    if not losses.size:
        return _USUAL_PENALTY, losses[0]
    best = int(losses.sum(1).argmin())
    return _PENALTIES[best], losses[best]


def _regression(penalty: float, tolerance: float) -> Any:
    from sklearn.linear_model import LogisticRegression  # a second to import

    return LogisticRegression(C=1 / penalty, max_iter=_MOST_ITERATIONS, tol=tolerance)


def _for_all_classes(
    solution: Any, num_classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return weights (num_classes, num_features) and biases; two classes share one row in scikit-learn."""
    rows, offsets = solution.coef_, solution.intercept_
    if len(solution.classes_) == 2:
        rows, offsets = np.concatenate([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    weights = np.zeros((num_classes, rows.shape[1]), np.float32)
    biases = np.full(num_classes, offsets.min() - 10, np.float32)  # a class of which there was no image
    weights[solution.classes_], biases[solution.classes_] = rows, offsets
    return weights, biases


def _losses(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], int]:
    """Return the cross-entropy of each image, and how many answers are right."""
    losses = F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels), reduction="none")
    return losses.numpy(), int((logits.argmax(1) == labels).sum())
