"""What logits say of each image: the class, its probability, the loss."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.errors import DivergedError, InputError
from kilnet.metrics.class_counts import Counts, Ratios


def refuse_unusable(logits: npt.NDArray[np.floating[Any]], what: str) -> None:
    """Raise DivergedError where a logit of (num_images, num_classes) is NaN or infinite.

    Args:
        logits: of the images.
        what: the images are, for the message.
    """
    num_bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if num_bad:
        raise DivergedError(
            f"{what}: the network's output is NaN or infinite for {num_bad} of {len(logits)} images; "
            "train again with a lower optimizer.lr"
        )


def softmax(logits: npt.NDArray[np.floating[Any]], temperature: float = 1.0) -> Ratios:
    """Return the probabilities of (num_images, num_classes) logits: float64, each row sums to 1."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def scored(
    what: str, num_classes: int, logits: npt.NDArray[np.floating[Any]], labels: Counts
) -> tuple[Counts, Ratios, Ratios]:
    """Return the predicted class, its probability and the cross-entropy in nats of every image.

    Args:
        what: the images are, for messages.
        num_classes, logits, labels: as of `Evaluation.from_logits`, which also says what is raised.
    """
    if logits.shape != (len(labels), num_classes) or labels.ndim != 1:
        raise InputError(
            f"{what}: logits {logits.shape} do not fit {num_classes} classes and labels {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or (
        len(labels) and not (labels.min() >= 0 and labels.max() < num_classes)
    ):
        raise InputError(f"{what}: labels must be integers from 0 to {num_classes - 1}")
    refuse_unusable(logits, what)
    exact = logits.astype(np.float64)
    predicted = exact.argmax(axis=1)
    # Without its maximum no exponential overflows, and the winner's log-probability is -log_norm.
    exact -= exact.max(axis=1, keepdims=True)
    log_norm = np.log(np.exp(exact).sum(axis=1))
    return predicted, np.exp(-log_norm), log_norm - exact[np.arange(len(labels)), labels]
