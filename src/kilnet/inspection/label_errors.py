"""Labels that are probably wrong, by the predictions of a network that was not trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split
from kilnet.errors import InputError
from kilnet.metrics.logits import softmax
from kilnet.seeding import generator

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

AT_LEAST = 0.1
"""Suspicion of a label that a person should look at: of less suspicious ones nine in ten would be right."""
_TEMPERATURES = np.geomspace(0.25, 8, 51)
_SMALLEST = 1e-12  # probability: no class is impossible
_EXPLAINED = (
    0.25  # of the wrong labels that are counted; where mistakes at random explain more, they are the model
)
_MOST = 0.5  # of the labels: where more are contradicted, it is the network that is wrong
_NUM_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class WrongShare:
    """How large a part of the labels is estimated to be wrong.

    Attributes:
        share: 0 to 1; see `label_errors`.
        low, high: its 95% interval, by resampling the images; that the network errs confidently is not in it.
        at_random: what it would be if each wrong label were any other class, whatever the image shows.
    """

    share: float
    low: float
    high: float
    at_random: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelErrors:
    """How suspicious each label of a split is.

    Attributes:
        suspicion: float64 (num_images,), 0 to 1: the probability that it is wrong, if mistakes fall at random.
        doubt: float64 (num_images,), 0 to 1: the same if as many are wrong as `wrong` says; images are ranked by it.
        suggested: int64 (num_images,), the most probable class other than the label.
        given: float64 (num_images,), the network's probability of the label.
        contradicted: bool (num_images,), where the network is surer of another class than it is on average of images
            that have that label.
        wrong: the share of wrong labels.
    """

    suspicion: Probabilities
    doubt: Probabilities
    suggested: Labels
    given: Probabilities
    contradicted: npt.NDArray[np.bool_]
    wrong: WrongShare

    @property
    def ranking(self) -> Labels:
        """int64 (num_images,), all images, the most suspicious first, of equal ones the least probable label."""
        return np.lexsort((self.given, -self.doubt))

    @property
    def suspects(self) -> Labels:
        """int64 (num_suspects,), the images whose label is more probably wrong than right, the worst first."""
        return self.ranking[: int((self.doubt > 0.5).sum())]

    @property
    def worth_a_look(self) -> npt.NDArray[np.bool_]:
        """bool (num_images,), what a person should look at: the suspects, and what else may be wrong."""
        return (self.doubt > 0.5) | (self.suspicion >= AT_LEAST) | self.contradicted

    def cut(self, precision: float | None = None, recall: float | None = None) -> Labels:
        """Return the most suspicious images, int64 (num_suspects,), the most suspicious first; by default `suspects`.

        Args:
            precision: the most images of which at least this part is expected to have a wrong label.
            recall: the fewest images that are expected to hold at least this part of the wrong labels.

        Raises:
            InputError: an aim is not above 0 and at most 1, or there are two.
        """
        if precision is not None and recall is not None:
            raise InputError("`precision` and `recall` both choose the cut; give one of them")
        for name, value in (("precision", precision), ("recall", recall)):
            if value is not None and not 0 < value <= 1:
                raise InputError(f"`{name}={value}`: must be above 0 and at most 1")
        expected = np.cumsum(self.doubt[self.ranking])
        if precision is not None:
            enough = np.flatnonzero(expected >= precision * np.arange(1, len(expected) + 1))
            return self.ranking[: int(enough[-1]) + 1 if len(enough) else 0]
        if recall is not None:
            return self.ranking[: int(np.argmax(expected >= recall * expected[-1])) + 1]
        return self.suspects

    @property
    def num_wrong(self) -> float:
        """Estimated number of wrong labels if mistakes fall at random; often more than then stand out."""
        return float(self.suspicion.sum())


@dataclass(frozen=True, eq=False)
class SuspectedLabel:
    """One image whose label is suspected.

    Attributes:
        image: uint8 (channels, height, width).
        split, name: where to find it.
        label: its label.
        suggested: the class that the network suggests instead.
        suspicion: 0 to 1; see `label_errors`.
        confidence: the probability of the suggested class.
    """

    image: npt.NDArray[np.uint8]
    split: str
    name: str
    label: str
    suggested: str
    suspicion: float
    confidence: float


def suspected_labels(
    split: str,
    images: Split,
    classes: Sequence[str],
    probabilities: Probabilities,
    *,
    precision: float | None = None,
    recall: float | None = None,
) -> tuple[SuspectedLabel, ...]:
    """Return the images of a split whose labels are suspected, the worst first.

    Args:
        split: its name.
        images: the split; labels are indices into `classes`.
        classes: class names.
        probabilities: as for `label_errors`, which also says what is raised.
        precision, recall: what chooses how many, see `LabelErrors.cut`.
    """
    found = label_errors(probabilities, images.labels)
    return listed(split, images, classes, probabilities, found, found.cut(precision, recall))


def listed(
    split: str,
    images: Split,
    classes: Sequence[str],
    probabilities: Probabilities,
    found: LabelErrors,
    chosen: Labels,
) -> tuple[SuspectedLabel, ...]:
    """Return the chosen images of a split, with what was found of their labels."""
    return tuple(
        SuspectedLabel(
            image=images.images[i],
            split=split,
            name=images.names[i],
            label=classes[images.labels[i]],
            suggested=classes[found.suggested[i]],
            suspicion=float(found.doubt[i]),
            confidence=float(probabilities[i, found.suggested[i]]),
        )
        for i in chosen
    )


def label_errors(probabilities: Probabilities, labels: Labels) -> LabelErrors:
    """Return how suspicious each label is.

    The first model: a fraction of the labels has been replaced by another class at random, and the network's logits,
    divided by a temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2), predict the
    true class. The fraction and the temperature are those that make the labels most likely. The suspicion of a label
    is, by Bayes' rule, the probability that it is wrong.

    People err where an image is hard, and a network learns to expect that: then no fraction of labels at random
    explains them better than the network alone. So wrong labels are also counted by confident learning (Northcutt et
    al. 2021, "Confident Learning", section 3.1): a label counts as wrong where another class is more probable than it
    is on average for images of that class. Where the first model explains less than a quarter of these, their share is
    the estimate, and a label's doubt is the probability that its most probable rival is true, with the odds of all
    labels divided by the factor that gives this share. Otherwise the doubt is the suspicion, as it is where a network
    contradicts half of the labels: such a network knows nothing.

    From predictions alone, labels that are wrong where the network doubts cannot be told from a network that doubts
    without reason. So confident mistakes of the network are counted too, and the weaker it is, the more of the suspects
    are only these; docs/experiments.md has other estimates, and what clean labels give.

    Args:
        probabilities: floating point (num_images, num_classes), of images that the network was not trained on.
        labels: int64 (num_images,).

    Raises:
        InputError: the shapes do not fit.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise InputError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    rows = np.arange(len(labels))
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    others = probabilities.astype(np.float64)
    others[rows, labels] = -1
    fits = [_fit(logits / temperature, labels) for temperature in _TEMPERATURES]
    fit = max(fits, key=lambda fit: fit.likelihood)
    given = probabilities[rows, labels].astype(np.float64)
    is_sure, contradicted = _confident(probabilities, labels)
    counted = _counted(is_sure, contradicted, labels, logits.shape[1], fit.share.share)
    doubt, wrong = fit.suspicion, fit.share
    if 0 < counted.share < _MOST and counted.at_random < _EXPLAINED * counted.share:
        doubt, wrong = _doubt(probabilities, labels, counted.share), counted
    return LabelErrors(
        suspicion=fit.suspicion,
        doubt=doubt,
        suggested=others.argmax(1),
        given=given,
        contradicted=contradicted,
        wrong=wrong,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _AtRandom:
    """The log-likelihood of the labels at the likeliest fraction of wrong ones, and each label's suspicion."""

    likelihood: float
    suspicion: Probabilities
    deviation: float  # of the fraction, by the information in the labels (Fisher)

    @property
    def share(self) -> WrongShare:
        share = float(self.suspicion.mean()) if len(self.suspicion) else 0.0
        low, high = max(0.0, share - 1.96 * self.deviation), min(1.0, share + 1.96 * self.deviation)
        return WrongShare(share=share, low=low, high=high, at_random=share)


def _fit(logits: Probabilities, labels: Labels) -> _AtRandom:
    right = np.maximum(softmax(logits)[np.arange(len(labels)), labels], _SMALLEST)
    wrong = (1 - right) / (logits.shape[1] - 1)  # another class is true, and this label was drawn instead
    gain = wrong - right
    low, high = 0.0, 1.0
    # The log-likelihood is concave in this fraction: halve the interval where its slope changes sign.
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if (gain / (right + middle * gain)).sum() > 0 else (low, middle)
    likelihood = right + low * gain
    information = float(np.square(gain / likelihood).sum())
    return _AtRandom(
        likelihood=float(np.log(likelihood).sum()),
        suspicion=low * wrong / likelihood,
        deviation=information**-0.5 if information > 0 else 0.0,
    )


def _confident(
    probabilities: Probabilities, labels: Labels
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return of which images the network is sure, and which of these labels it contradicts, each (num_images,)."""
    num_classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    num_labels = np.bincount(labels, minlength=num_classes)
    sure_from = np.full(num_classes, np.inf)
    there = num_labels > 0
    sure_from[there] = np.bincount(labels, own, num_classes)[there] / num_labels[there]
    sure = np.where(probabilities >= sure_from, probabilities, 0.0)
    return np.asarray(sure.any(axis=1)), np.asarray(sure.max(axis=1, initial=0.0) > own)


def _counted(
    is_sure: npt.NDArray[np.bool_],
    contradicts: npt.NDArray[np.bool_],
    labels: Labels,
    num_classes: int,
    at_random: float,
) -> WrongShare:
    """Count the labels that the network contradicts, for each class as part of those that it is sure about."""
    num_labels = np.bincount(labels, minlength=num_classes)
    num_against = np.bincount(labels[contradicts], minlength=num_classes)
    num_for = np.bincount(labels[is_sure], minlength=num_classes) - num_against
    cells = np.concatenate([num_against, num_for, num_labels - num_against - num_for])
    if not len(labels):
        return WrongShare(share=0.0, low=0.0, high=0.0, at_random=at_random)
    drawn = generator(0, "share of wrong labels").multinomial(
        len(labels), cells / len(labels), _NUM_RESAMPLES
    )
    low, high = np.quantile([_share(one) for one in drawn], (0.025, 0.975))
    return WrongShare(share=_share(cells), low=float(low), high=float(high), at_random=at_random)


def _share(cells: Labels) -> float:
    """Return the share of wrong labels by how many of each class are contradicted, confirmed, and neither."""
    against, confirmed, neither = cells.reshape(3, -1)
    part = against / np.maximum(against + confirmed, 1)
    return float((part * (against + confirmed + neither)).sum() / cells.sum())


def _doubt(probabilities: Probabilities, labels: Labels, share: float) -> Probabilities:
    """Return the probability that the best other class is true, so that `share` of the labels is wrong."""
    rows = np.arange(len(labels))
    own = np.maximum(probabilities[rows, labels], _SMALLEST)
    others = probabilities.astype(np.float64)
    others[rows, labels] = 0
    odds = np.maximum(others.max(axis=1), _SMALLEST) / own
    low, high = -40.0, 40.0  # the logarithm of the factor
    for _ in range(60):
        middle = (low + high) / 2
        too_many = (odds / (odds + np.exp(middle))).mean() > share
        low, high = (middle, high) if too_many else (low, middle)
    return np.asarray(odds / (odds + np.exp(low)))
