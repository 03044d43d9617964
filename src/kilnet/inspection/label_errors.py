"""Labels that are probably wrong, by the predictions of a network that was not trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split
from kilnet.errors import InputError
from kilnet.metrics.logits import softmax

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_TEMPERATURES = np.geomspace(0.25, 8, 51)
_SMALLEST = 1e-12  # probability: no class is impossible


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """How suspicious each label of a split is.

    Attributes:
        suspicion: float64 (num_images,), 0 to 1.
        suggested: int64 (num_images,), the most probable class other than the label.
        given: float64 (num_images,), the network's probability of the label.
    """

    suspicion: Probabilities
    suggested: Labels
    given: Probabilities

    @property
    def ranking(self) -> Labels:
        """int64 (num_images,), all images, the most suspicious first, of equal ones the least probable label.

        A network that has learned how often people err predicts the labels so well that no fraction of wrong ones makes
        them likelier: then no label is suspicious, and the probability of the label still ranks them.
        """
        return np.lexsort((self.given, -self.suspicion))

    @property
    def suspects(self) -> Labels:
        """int64 (num_suspects,), the images with a suspicion above 0.5, the most suspicious first."""
        return self.ranking[: int((self.suspicion > 0.5).sum())]

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
        expected = np.cumsum(self.suspicion[self.ranking])
        if precision is not None:
            enough = np.flatnonzero(expected >= precision * np.arange(1, len(expected) + 1))
            return self.ranking[: int(enough[-1]) + 1 if len(enough) else 0]
        if recall is not None:
            return self.ranking[: int(np.argmax(expected >= recall * expected[-1])) + 1]
        return self.suspects

    @property
    def num_wrong(self) -> float:
        """Estimated number of wrong labels; often more than the suspects, as many wrong labels do not stand out."""
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
    return _listed(split, images, classes, probabilities, found, found.cut(precision, recall))


def ranked_labels(
    split: str, images: Split, classes: Sequence[str], probabilities: Probabilities
) -> tuple[SuspectedLabel, ...]:
    """Return all images of a split as `suspected_labels` does, the most suspicious label first."""
    found = label_errors(probabilities, images.labels)
    return _listed(split, images, classes, probabilities, found, found.ranking)


def _listed(
    split: str,
    images: Split,
    classes: Sequence[str],
    probabilities: Probabilities,
    found: LabelErrors,
    chosen: Labels,
) -> tuple[SuspectedLabel, ...]:
    return tuple(
        SuspectedLabel(
            image=images.images[i],
            split=split,
            name=images.names[i],
            label=classes[images.labels[i]],
            suggested=classes[found.suggested[i]],
            suspicion=float(found.suspicion[i]),
            confidence=float(probabilities[i, found.suggested[i]]),
        )
        for i in chosen
    )


def label_errors(probabilities: Probabilities, labels: Labels) -> LabelErrors:
    """Return how suspicious each label is.

    The model: a fraction of the labels has been replaced by another class at random, and the network's logits, divided
    by a temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2), predict the true class.
    The fraction and the temperature are those that make the labels most likely. The suspicion of a label is, by Bayes'
    rule, the probability that it is wrong, so the probability of the label alone ranks the images. Confident learning
    (Northcutt et al. 2021) ranks equally well by "self-confidence", far worse by "normalised margin", and suspects most
    mistakes of a weak network (benchmarks/label_errors.py). Confident mistakes of the network are suspected too: the
    weaker it is, the more of the suspects are only its mistakes.

    Args:
        probabilities: floating point (num_images, num_classes), of images that the network was not trained on.
        labels: int64 (num_images,).

    Raises:
        InputError: the shapes do not fit.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise InputError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    others = probabilities.astype(np.float64)
    others[np.arange(len(labels)), labels] = -1
    fits = [_fit(logits / temperature, labels) for temperature in _TEMPERATURES]
    _, suspicion = max(fits, key=lambda fit: fit[0])
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return LabelErrors(suspicion, others.argmax(1), given)


def _fit(logits: Probabilities, labels: Labels) -> tuple[float, Probabilities]:
    """Return the log-likelihood of the labels at the likeliest fraction of wrong ones, and each label's suspicion."""
    right = np.maximum(softmax(logits)[np.arange(len(labels)), labels], _SMALLEST)
    wrong = (1 - right) / (logits.shape[1] - 1)  # another class is true, and this label was drawn instead
    gain = wrong - right
    low, high = 0.0, 1.0
    # The log-likelihood is concave in this fraction: halve the interval where its slope changes sign.
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if (gain / (right + middle * gain)).sum() > 0 else (low, middle)
    likelihood = right + low * gain
    return float(np.log(likelihood).sum()), low * wrong / likelihood
