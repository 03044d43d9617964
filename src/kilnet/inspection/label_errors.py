"""Labels that are probably wrong, from predictions of images that the network was not trained on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
