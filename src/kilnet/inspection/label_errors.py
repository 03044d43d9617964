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
    """Images whose labels are suspected, the worst first.

    Attributes:
        ranking: int64 (num_images,), all images, the most suspicious first.
        num_suspected: so many of the ranking's first images are suspected.
        score: float64 (num_images,), of each image in the order of the split; from -1, surely wrong, to 1, surely
            right.
        suggested: int64 (num_images,), the class that the network would give instead.
    """

    ranking: Labels
    num_suspected: int
    score: Probabilities
    suggested: Labels


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
        for i in found.ranking[: found.num_suspected]
    )


def label_errors(probabilities: Probabilities, labels: Labels) -> LabelErrors:
    """Rank labels by how much the network disagrees.

    Source: Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels". A class's threshold
    is the mean probability that images with its label get for it (equation 2); an image whose most probable class
    among those above their thresholds is not its label is suspected (the off-diagonal of the confident joint,
    equation 1). They are ranked by normalised margin: the probability of the label less that of the best other class.

    Args:
        probabilities: floating point (num_images, num_classes), of images that the network was not trained on.
        labels: int64 (num_images,), as given.

    Raises:
        InputError: the shapes do not fit.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise InputError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    exact = probabilities.astype(np.float64)
    rows = np.arange(len(labels))
    of_label = exact[rows, labels]
    others = exact.copy()
    others[rows, labels] = -1
    suggested = others.argmax(1)
    score = of_label - others[rows, suggested]

    num_images = np.bincount(labels, minlength=exact.shape[1])
    sums = np.bincount(labels, of_label, exact.shape[1])
    thresholds = np.divide(sums, num_images, out=np.full(len(sums), np.inf), where=num_images > 0)
    confident = np.where(exact >= thresholds, exact, -1)
    suspected = (confident.max(1) >= 0) & (confident.argmax(1) != labels)
    ranking = np.lexsort((score, ~suspected))
    return LabelErrors(ranking, int(suspected.sum()), score, suggested)
