"""What logits say of each image: the class, its probability, the loss."""

import math
from dataclasses import dataclass
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


@dataclass(frozen=True)
class LogitScale:
    """What makes logits those of calibrated confidences: a power of their distances from their mean, a temperature.

    The power undoes some of what label smoothing does, which draws large logits together and small ones less; at 1
    the temperature is all. Neither changes a prediction.

    Attributes:
        temperature: by which they are divided, after the power.
        power: of each logit's distance from the mean of its image's logits, on its side of it.
    """

    temperature: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("power", self.power)):
            if not (isinstance(value, float) and 0 < value < math.inf):
                raise ValueError(f"{name} {value!r}")

    def __call__(self, logits: npt.NDArray[np.floating[Any]]) -> Ratios:
        """Return (num_images, num_classes) logits scaled: float64."""
        exact = logits.astype(np.float64)
        if self.power != 1:
            exact -= exact.mean(axis=1, keepdims=True)
            exact = np.sign(exact) * np.abs(exact) ** self.power
        return np.asarray(exact / self.temperature)

    def __str__(self) -> str:
        power = "" if self.power == 1 else f"power {self.power:.2f}, "
        return f"{power}temperature {self.temperature:.3f}"


UNSCALED = LogitScale()
"""Changes nothing."""


def softmax(logits: npt.NDArray[np.floating[Any]]) -> Ratios:
    """Return the probabilities of (num_images, num_classes) logits: float64, each row sums to 1."""
    exact = logits.astype(np.float64)
    exponentials = np.exp(exact - exact.max(axis=1, keepdims=True))
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
