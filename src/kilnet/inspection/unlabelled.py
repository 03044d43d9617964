"""A folder of pictures without labels: which of them to label next."""

from pathlib import Path

import numpy as np

from kilnet.data.class_folders import find_files
from kilnet.data.dataset import ImageDataset, Progress, Split, silent
from kilnet.data.grey import in_channels
from kilnet.data.pictures import read_pictures
from kilnet.data.splits import content_hashes
from kilnet.errors import InputError
from kilnet.inference.classifier import Classifier
from kilnet.inspection.last_layer import last_features
from kilnet.inspection.next_to_label import next_to_label
from kilnet.inspection.review_queue import ReviewItem, without_labels
from kilnet.metrics.logits import softmax

_REASON = "the network is uncertain, and it is unlike those before it"


def to_label(
    classifier: Classifier, folder: Path, dataset: ImageDataset, count: int, progress: Progress = silent
) -> tuple[Split, list[ReviewItem]]:
    """Return the pictures of a folder that are to be labelled next, and an item for each; see `next_to_label`.

    Args:
        classifier: the network, calibrated where it is.
        folder: with pictures at any depth; other files are left out.
        dataset: its training and validation images are left out too, where the folder holds them.
        count: how many.
        progress: told how far decoding is.

    Raises:
        InputError: there is no picture that can be used.
        ModelError: the network does not end in a linear layer.
    """
    files, _ = find_files(folder)
    paths = [path.relative_to(folder).as_posix() for path in files]
    channels, side, _ = classifier.image_shape
    pictures = read_pictures(folder, paths, side, progress, classifier.preprocessing.fitting)
    images = in_channels(pictures.images, "grey" if channels == 1 else "colour")
    known = np.concatenate([content_hashes(part.images) for part in (dataset.train, dataset.validation)])
    new = np.flatnonzero(~np.isin(content_hashes(images), known)) if len(images) else np.empty(0, np.int64)
    if not len(new):
        raise InputError(f"{folder}: no picture in it that is not trained on already")
    names = tuple(pictures.paths[place] for place in new)
    every = Split(images[new], np.zeros(len(new), np.int64), names)
    logits = classifier.scale(classifier.logits(every.images))
    features = last_features(classifier, every.images, progress)
    chosen = next_to_label(softmax(logits), features, count)
    wanted = every.take(chosen)
    return wanted, without_labels(wanted, logits[chosen], classifier.classes, _REASON)
