"""Pictures unlike all that a network was trained on: how they are told apart, and how well that works."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError
from kilnet.metrics.class_counts import Ratios
from kilnet.metrics.logits import softmax

KNOWN_KEPT = 0.95
"""Of the validation images so many are not taken for unknown."""

Logits = npt.NDArray[np.floating[Any]]


def strangeness(logits: Logits) -> Ratios:
    """Return how little a picture is like any class, float64 (num_images,): the higher, the stranger.

    Source: Liu et al. 2020, "Energy-based Out-of-distribution Detection", equation 4, the energy at temperature 1. A
    softmax forgets how high the logits are, and this does not. With a small FastNet on CIFAR-10 it was better than the
    distance to the features of training images (Sun et al. 2022), than their residual, and than sums of these.

    Args:
        logits: (num_images, num_classes), as the network gives them.
    """
    exact = logits.astype(np.float64)
    highest = exact.max(axis=1)
    return np.asarray(-highest - np.log(np.exp(exact - highest[:, None]).sum(axis=1)))


def fit_limit(logits: Logits) -> float:
    """Return the strangeness that `KNOWN_KEPT` of these known pictures do not exceed."""
    return float(np.quantile(strangeness(logits), KNOWN_KEPT, method="higher"))


@dataclass(frozen=True, kw_only=True)
class UnknownMeasured:
    """How well unknown pictures are told from known ones.

    Attributes:
        num_known, num_unknown: pictures of each kind.
        auroc: probability that of one picture of each kind the unknown one is stranger; 0.5 is chance.
        auroc_of_confidence: the same with the lower confidence, the highest softmax, in place of the strangeness.
        false_positives: part of the unknown pictures that pass as known where 95% of the known ones do.
        num_known_refused, num_unknown_found: pictures of each kind above the limit that the run keeps; None where it
            keeps none.
    """

    num_known: int
    num_unknown: int
    auroc: float
    auroc_of_confidence: float
    false_positives: float
    num_known_refused: int | None
    num_unknown_found: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return what was found in words, one line each."""
        told = [
            f"{self.num_unknown:,} unknown pictures beside {self.num_known:,} known ones: AUROC {self.auroc:.1%} "
            f"(by the highest softmax {self.auroc_of_confidence:.1%})",
            f"{self.false_positives:.1%} of the unknown pass as known where 95% of the known do",
        ]
        if self.num_unknown_found is not None and self.num_known_refused is not None:
            told.append(
                f"the run's limit finds {self.num_unknown_found:,} of them "
                f"({self.num_unknown_found / self.num_unknown:.1%}), and takes {self.num_known_refused:,} of the known "
                f"({self.num_known_refused / self.num_known:.1%}) for unknown"
            )
        return told


def measure(known: Logits, unknown: Logits, limit: float | None) -> UnknownMeasured:
    """Compare logits of known and of unknown pictures.

    Args:
        known, unknown: (num_images, num_classes).
        limit: of the run, if it keeps one.

    Raises:
        InputError: there are no pictures of one kind.
    """
    if not len(known) or not len(unknown):
        raise InputError("there must be known and unknown pictures")
    own, others = strangeness(known), strangeness(unknown)
    passes = np.quantile(own, KNOWN_KEPT, method="higher")
    return UnknownMeasured(
        num_known=len(known),
        num_unknown=len(unknown),
        auroc=_auroc(own, others),
        auroc_of_confidence=_auroc(-softmax(known).max(1), -softmax(unknown).max(1)),
        false_positives=float((others <= passes).mean()),
        num_known_refused=None if limit is None else int((own > limit).sum()),
        num_unknown_found=None if limit is None else int((others > limit).sum()),
    )


def _auroc(low: Ratios, high: Ratios) -> float:
    """Return the probability that a value of `high` exceeds one of `low`, ties counted half (Mann and Whitney 1947)."""
    from scipy.stats import rankdata  # which predicting does without

    ranks = rankdata(np.concatenate([low, high]))[len(low) :]
    wins = math.fsum(ranks) - len(high) * (len(high) + 1) / 2
    return wins / (len(low) * len(high))
