"""Labels that are probably wrong, from predictions of images that the network was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split
from kilnet.errors import InputError
from kilnet.metrics import softmax

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_TEMPERATURES = np.geomspace(0.25, 8, 51)
_SMALLEST = 1e-12  # of a probability, so that none is judged impossible


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """How suspicious each label of a split is.

    Attributes:
        probability_wrong: float64 (num_images,).
        suggested: int64 (num_images,), the most probable class but the label.
    """

    probability_wrong: Probabilities
    suggested: Labels

    @property
    def ranking(self) -> Labels:
        """int64 (num_images,), all images, the most suspicious first."""
        return np.argsort(-self.probability_wrong, kind="stable")

    @property
    def suspects(self) -> Labels:
        """int64 (num_suspects,), the images whose label is more likely wrong than right, the most suspicious first."""
        return self.ranking[: int((self.probability_wrong > 0.5).sum())]

    @property
    def num_wrong(self) -> float:
        """Estimated number of wrong labels; more than the suspects, since many wrong ones do not stand out."""
        return float(self.probability_wrong.sum())


@dataclass(frozen=True, eq=False)
class SuspectedLabel:
    """One image whose label is more likely wrong than right.

    Attributes:
        image: uint8 (channels, height, width).
        split, name: where it is.
        label: the class it is labelled with.
        suggested: the class that the network would give instead.
        probability_wrong: that the label is wrong.
        confidence: what the network gives the suggested class.
    """

    image: npt.NDArray[np.uint8]
    split: str
    name: str
    label: str
    suggested: str
    probability_wrong: float
    confidence: float


def suspected_labels(
    split: str, images: Split, classes: Sequence[str], probabilities: Probabilities
) -> tuple[SuspectedLabel, ...]:
    """Return the images of a split whose labels are suspected, the worst first; see `label_errors`.

    Args:
        split: its name.
        images: the split; labels are indices into `classes`.
        classes: class names.
        probabilities: floating point (num_images, num_classes), of networks that were not trained on the images.

    Raises:
        InputError: the shapes do not fit.
    """
    found = label_errors(probabilities, images.labels)
    return tuple(
        SuspectedLabel(
            images.images[i],
            split,
            images.names[i],
            classes[images.labels[i]],
            classes[found.suggested[i]],
            float(found.probability_wrong[i]),
            float(probabilities[i, found.suggested[i]]),
        )
        for i in found.suspects
    )


def label_errors(probabilities: Probabilities, labels: Labels) -> LabelErrors:
    """Return the probability that each label is wrong.

    Supposes that a part of the labels has been replaced by one of the other classes at random, and that the network's
    logits, divided by a temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2), give
    the true class. Part and temperature are those under which the labels are the most likely; Bayes' rule gives the
    rest. It follows that the probability of the label alone ranks the images. The confident learning of Northcutt et
    al. 2021 ranks as well by "self-confidence" and far worse by "normalised margin", and suspects most mistakes of a
    weak network (benchmarks/label_errors.py).

    Args:
        probabilities: floating point (num_images, num_classes), of images that the network was not trained on.
        labels: int64 (num_images,), as given.

    Raises:
        InputError: the shapes do not fit.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise InputError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    others = probabilities.astype(np.float64)
    others[np.arange(len(labels)), labels] = -1
    fits = [_fit(logits / temperature, labels) for temperature in _TEMPERATURES]
    _, probability_wrong = max(fits, key=lambda fit: fit[0])
    return LabelErrors(probability_wrong, others.argmax(1))


def _fit(logits: Probabilities, labels: Labels) -> tuple[float, Probabilities]:
    """Return the labels' log-likelihood at the likeliest part of wrong ones, and each label's probability of that."""
    right = np.maximum(softmax(logits)[np.arange(len(labels)), labels], _SMALLEST)
    wrong = (1 - right) / (
        logits.shape[1] - 1
    )  # the true class is another, and this one was drawn in its place
    gain = wrong - right
    low, high = 0.0, 1.0
    for _ in range(40):  # the likelihood is concave in the part: halve where its slope changes sign
        part = (low + high) / 2
        low, high = (part, high) if (gain / (right + part * gain)).sum() > 0 else (low, part)
    likelihood = right + low * gain
    return float(np.log(likelihood).sum()), low * wrong / likelihood
