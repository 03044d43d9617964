"""Pictures unlike all that a network was trained on: how they are told apart, and how well that works."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError
from kilnet.metrics.class_counts import Counts, Ratios
from kilnet.metrics.logits import softmax

KNOWN_KEPT = 0.95
"""Of the validation images so many are not taken for unknown."""

Numbers = npt.NDArray[np.floating[Any]]
_LENT = 10  # images that each class is taken to have of the usual kind, so that few of its own cannot mislead
# What varies by less than this part of its mean says nothing: an export's arithmetic in fp32 alone moves the entropy of
# 1,000 classes by a millionth (9e-6 of 6.9 nats in a network of which all units were dead).
_LEAST_VARIATION = 1e-3
_TINY = 1e-6  # where that mean is 0


@dataclass(frozen=True)
class KnownPictures:
    """How known pictures look to a network: what an unknown one is compared with.

    The strangeness of a picture has two parts, each in standard deviations of validation images: how unclear the answer
    is (its entropy), compared with images that got the same class, since a network is surer of some classes than of
    others; and how weak the features are from which the answer comes. The second counts as much as the two go together
    on validation images: in a network that was trained on these classes features become strong where it is sure, and in
    one that came with features from elsewhere their strength says nothing of that, and would mislead. Of what was tried
    this told most (docs/experiments.md, "An entropy for each class, and the strength of features").

    Attributes:
        usual: mean entropy in nats of the validation images that got a class, by class.
        spread: its standard deviation over them.
        strength: mean strength of the features, see `evidence.with_strength`.
        weight: how many standard deviations a strength that is lower by 1 counts.
        limit: the strangeness that `KNOWN_KEPT` of the validation images do not exceed.
    """

    usual: tuple[float, ...]
    spread: tuple[float, ...]
    strength: float
    weight: float
    limit: float

    @classmethod
    def fit(cls, evidence: Numbers) -> "KnownPictures":
        """Learn from what a network says of validation images; see `Classifier.evidence`."""
        unclear, classes, strength = _parts(evidence)
        num_classes = evidence.shape[1] - 1
        num = np.bincount(classes, minlength=num_classes) + _LENT
        usual = (np.bincount(classes, unclear, num_classes) + _LENT * unclear.mean()) / num
        apart = (unclear - usual[classes]) ** 2
        spread = np.sqrt((np.bincount(classes, apart, num_classes) + _LENT * apart.mean()) / num)
        spread = np.maximum(spread, _least(unclear))
        varies = max(float(strength.std()), _least(strength))
        own, weakness = (unclear - usual[classes]) / spread[classes], (strength.mean() - strength) / varies
        correlation = float((own * weakness).mean()) / max(float(own.std()), _TINY)
        known = cls(
            usual=tuple(usual.tolist()),
            spread=tuple(spread.tolist()),
            strength=float(strength.mean()),
            weight=max(0.0, correlation) / varies,
            limit=0.0,
        )
        limit = np.quantile(known.strangeness(evidence), KNOWN_KEPT, method="higher")
        return replace(known, limit=float(limit))

    def strangeness(self, evidence: Numbers) -> Ratios:
        """Return how unlike known pictures each one is, float64 (num_images,): the higher, the stranger.

        Args:
            evidence: (num_images, num_classes + 1), see `Classifier.evidence`.
        """
        unclear, classes, strength = _parts(evidence)
        own = (unclear - np.array(self.usual)[classes]) / np.array(self.spread)[classes]
        return np.asarray(own + self.weight * (self.strength - strength))


def _least(values: Ratios) -> float:
    return max(_TINY, _LEAST_VARIATION * float(values.mean()))


def _parts(evidence: Numbers) -> tuple[Ratios, Counts, Ratios]:
    """Return each image's entropy, class and strength of features."""
    logits = evidence[:, :-1].astype(np.float64)
    probabilities = softmax(logits)
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logs).sum(1), logits.argmax(1), evidence[:, -1].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class UnknownMeasured:
    """How well unknown pictures are told from known ones.

    Attributes:
        num_known, num_unknown: pictures of each kind.
        auroc: probability that of one picture of each kind the unknown one is stranger; 0.5 is chance.
        auroc_of_confidence: the same with the lower confidence, the highest softmax, in place of the strangeness.
        false_positives: part of the unknown pictures that pass as known where 95% of the known ones do.
        num_known_refused, num_unknown_found: pictures of each kind above the limit that the run keeps.
    """

    num_known: int
    num_unknown: int
    auroc: float
    auroc_of_confidence: float
    false_positives: float
    num_known_refused: int
    num_unknown_found: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return what was found in words, one line each."""
        return [
            f"{self.num_unknown:,} unknown pictures beside {self.num_known:,} known ones: AUROC {self.auroc:.1%} "
            f"(by the highest softmax {self.auroc_of_confidence:.1%})",
            f"{self.false_positives:.1%} of the unknown pass as known where 95% of the known do",
            f"the run's limit finds {self.num_unknown_found:,} of them "
            f"({self.num_unknown_found / self.num_unknown:.1%}), and takes {self.num_known_refused:,} of the known "
            f"({self.num_known_refused / self.num_known:.1%}) for unknown",
        ]


def measure(
    known: tuple[Numbers, Numbers], unknown: tuple[Numbers, Numbers], kept: KnownPictures
) -> UnknownMeasured:
    """Compare what a network says of known and of unknown pictures.

    Args:
        known, unknown: what `Classifier.judged` returns of each.
        kept: by the run.

    Raises:
        InputError: there are no pictures of one kind.
    """
    if not len(known[0]) or not len(unknown[0]):
        raise InputError("there must be known and unknown pictures")
    own, others = kept.strangeness(known[1]), kept.strangeness(unknown[1])
    passes = np.quantile(own, KNOWN_KEPT, method="higher")
    return UnknownMeasured(
        num_known=len(own),
        num_unknown=len(others),
        auroc=_auroc(own, others),
        auroc_of_confidence=_auroc(-softmax(known[0]).max(1), -softmax(unknown[0]).max(1)),
        false_positives=float((others <= passes).mean()),
        num_known_refused=int((own > kept.limit).sum()),
        num_unknown_found=int((others > kept.limit).sum()),
    )


def _auroc(low: Ratios, high: Ratios) -> float:
    """Return the probability that a value of `high` exceeds one of `low`, ties counted half (Mann and Whitney 1947)."""
    from scipy.stats import rankdata  # which predicting does without

    ranks = rankdata(np.concatenate([low, high]))[len(low) :]
    wins = math.fsum(ranks) - len(high) * (len(high) + 1) / 2
    return wins / (len(low) * len(high))
