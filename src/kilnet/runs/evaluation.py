"""A network evaluated on images that it has not seen."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import DataError
from kilnet.inference.classifier import Classifier, match_classes
from kilnet.metrics import Evaluation


@dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """An evaluation, with the images and what the network says of each.

    Attributes:
        evaluation: the counts and what follows from them.
        images: what was evaluated; labels are the network's indices.
        logits: float32 (num_images, num_classes).
    """

    evaluation: Evaluation
    images: Split
    logits: npt.NDArray[np.float32]


def evaluate_classifier(classifier: Classifier, dataset: ImageDataset, split: str) -> EvaluatedSplit:
    """Evaluate a network on one split of a data set, every image once.

    Args:
        classifier: the network.
        dataset: with the same class names, or some of them, in any order.
        split: "train", "validation", "test", or "all" for the three together.

    Raises:
        InputError: the data has a class that the network does not know.
        DataError: there is no such split, or the images have another shape.
    """
    images = dataset.split(split)
    if len(images) == 0:
        raise DataError(f"{dataset.name}: the {split} split is empty")
    indices = match_classes(classifier, dataset.classes)
    images = replace(images, labels=indices[images.labels])
    logits = classifier.logits(images.images)
    evaluation = Evaluation.from_logits(split, classifier.classes, logits, images.labels)
    return EvaluatedSplit(evaluation, images, logits)
