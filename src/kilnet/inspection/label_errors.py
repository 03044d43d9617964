"""Labels that are probably wrong, from predictions of images that the network was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split
from kilnet.errors import InputError

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """How suspicious each label of a split is.

    Attributes:
        ranking: int64 (num_images,), all images, the most suspicious first.
        suspected: bool (num_images,), in the order of the split.
        suggested: int64 (num_images,), the most probable class but the label.
    """

    ranking: Labels
    suspected: npt.NDArray[np.bool_]
    suggested: Labels

    @property
    def suspects(self) -> Labels:
        """int64 (num_suspected,), the suspected images, the most suspicious first."""
        return self.ranking[self.suspected[self.ranking]]


@dataclass(frozen=True, eq=False)
class SuspectedLabel:
    """One image whose label is suspected.

    Attributes:
        image: uint8 (channels, height, width).
        split, name: where it is.
        label: the class it is labelled with.
        suggested: the class that the network would give instead.
        probability_of_label, probability_of_suggested: by a network that was not trained on the image.
    """

    image: npt.NDArray[np.uint8]
    split: str
    name: str
    label: str
    suggested: str
    probability_of_label: float
    probability_of_suggested: float


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
            float(probabilities[i, images.labels[i]]),
            float(probabilities[i, found.suggested[i]]),
        )
        for i in found.suspects
    )


def label_errors(probabilities: Probabilities, labels: Labels) -> LabelErrors:
    """Find labels that a network confidently contradicts, and rank all labels by how improbable they are.

    Source: Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels". A class's threshold
    is the mean probability that images with its label get for it (equation 2); an image whose most probable class
    among those above their thresholds is not its label is suspected (the off-diagonal of the confident joint,
    equation 1). The ranking is by the label's probability, their "self-confidence": were wrong labels drawn at random,
    nothing else would count. Their normalised margin, the label's probability less that of the best other class, puts
    hard images first, and found far fewer planted errors (benchmarks/label_errors.py).

    Args:
        probabilities: floating point (num_images, num_classes), of images that the network was not trained on.
        labels: int64 (num_images,), as given.

    Raises:
        InputError: the shapes do not fit.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise InputError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    exact = probabilities.astype(np.float64)
    num_classes, rows = exact.shape[1], np.arange(len(labels))
    of_label = exact[rows, labels]
    num_images = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, of_label, num_classes)
    thresholds = np.divide(sums, num_images, out=np.full(num_classes, np.inf), where=num_images > 0)
    confident = np.where(exact >= thresholds, exact, -1)
    suspected = (confident.max(1) >= 0) & (confident.argmax(1) != labels)
    others = exact.copy()
    others[rows, labels] = -1
    return LabelErrors(np.argsort(of_label, kind="stable"), suspected, others.argmax(1))
