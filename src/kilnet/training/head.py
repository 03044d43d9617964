"""The last layer of a pretrained network, fitted to what the other layers see in the images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

# On half the squared weights, against the losses of all images together; features have unit variance on average.
_PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
_NUM_FOLDS = 5
# What the penalty is chosen with: more images, or the directions in which features vary less, hardly change it.
_MOST_IMAGES, _MOST_DIRECTIONS = 2000, 256
_MOST_ITERATIONS = 1000


@dataclass(frozen=True)
class FittedHead:
    """How the fitted layer does on the images it was fitted to.

    Attributes:
        penalty: that cross-validation chose.
        loss_sum, num_correct, num_images: over the training images.
    """

    penalty: float
    loss_sum: float
    num_correct: int
    num_images: int


def fit_head(
    head: nn.Linear,
    seen: npt.NDArray[np.float16],
    labels: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float32] | None = None,
    shift: npt.NDArray[np.float64] | None = None,
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
    """
    from threadpoolctl import threadpool_limits  # here, since few runs need it

    with threadpool_limits(1):
        penalty, weights, biases = _fitted(seen, labels, head.out_features, counts)
    if shift is not None:
        biases = (biases - shift).astype(np.float32)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(biases))
    losses, num_correct = _losses(seen.astype(np.float32) @ weights.T + biases, labels)
    return FittedHead(
        penalty=penalty, loss_sum=float(losses.sum()), num_correct=num_correct, num_images=len(labels)
    )


def _fitted(
    seen: npt.NDArray[np.float16],
    labels: npt.NDArray[np.int64],
    num_classes: int,
    counts: npt.NDArray[np.float32] | None,
) -> tuple[float, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    flat = seen.astype(np.float32)
    mean, spread = flat.mean(0), float(np.sqrt(flat.var(0).mean())) or 1.0
    flat = (flat - mean) / spread
    variances, directions = np.linalg.eigh(flat.T @ flat)  # the largest last
    directions = directions[:, variances >= 1e-6 * variances[-1]][:, ::-1]
    points = np.ascontiguousarray(flat @ directions)
    penalty = _best_penalty(points[:_MOST_IMAGES, :_MOST_DIRECTIONS], labels[:_MOST_IMAGES])
    solution = _regression(penalty, 1e-5).fit(points, labels, counts)
    weights, biases = _for_all_classes(solution, num_classes)
    weights = (weights @ directions.T) / spread
    return penalty, weights, biases - weights @ mean


def _best_penalty(points: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the penalty with the lowest loss on images that were left out, each once; of classes seen without them."""
    fold = np.empty(len(labels), np.int64)
    fold[np.argsort(labels, kind="stable")] = (
        np.arange(len(labels)) % _NUM_FOLDS
    )  # as many of each class in each
    loss_sums = np.zeros(len(_PENALTIES))
    for left_out in range(_NUM_FOLDS):
        inside = fold != left_out
        known = np.unique(labels[inside])
        judged = ~inside & np.isin(labels, known)
        if len(known) < 2 or not judged.any():
            continue
        share, fitted_to, others = inside.mean(), points[inside], points[judged]
        for index, penalty in enumerate(_PENALTIES):
            solution = _regression(penalty * share, 1e-3).fit(fitted_to, labels[inside])
            weights, biases = _for_all_classes(solution, labels.max() + 1)
            loss_sums[index] += _losses(others @ weights.T + biases, labels[judged])[0].sum()
    return _PENALTIES[int(loss_sums.argmin())]


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
