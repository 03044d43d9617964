"""What reaches a network's last layer, and what such a layer says of images that it was not fitted to."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kilnet.data.dataset import Progress, Split, silent
from kilnet.data.splits import folds
from kilnet.errors import DataError, ModelError
from kilnet.hardware import images_at_once
from kilnet.inference.classifier import Classifier
from kilnet.inspection.passes import calls, hooked, network_input, untouched
from kilnet.training.head import fit_head

NUM_FOLDS = 5
_BATCH_SIZE = 128


def last_features(
    classifier: Classifier,
    images: npt.NDArray[np.uint8],
    progress: Progress = silent,
) -> npt.NDArray[np.float32]:
    """Return what the last linear layer gets of each image, (num_images, num_features).

    Args:
        classifier: the network.
        images: uint8 (num_images, channels, height, width).
        progress: told how many images are done.

    Raises:
        ModelError: the network does not end in a linear layer.
    """
    linear = [call.layer for call in calls(classifier) if isinstance(call.layer, nn.Linear)]
    if not linear or getattr(linear[-1], "out_features", 0) != len(classifier.classes):
        raise ModelError(f"{classifier.model_config.name} does not end in a torch.nn.Linear")
    seen: list[npt.NDArray[np.float32]] = []

    def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0].detach().float().cpu().numpy())

    settings = classifier.settings
    with hooked([linear[-1].register_forward_pre_hook(note)]), untouched(classifier.model) as model:
        together = images_at_once(_BATCH_SIZE, *images.shape[2:])
        for start in range(0, len(images), together):
            batch = network_input(classifier, images[start : start + together])
            with torch.inference_mode(), settings.autocast():
                model(settings.place_images(batch))
            progress("look at training images", min(start + together, len(images)), len(images))
    return np.concatenate(seen)


def held_out_logits(
    features: npt.NDArray[np.float32],
    split: Split,
    num_classes: int,
    seed: int = 0,
    progress: Progress = silent,
) -> npt.NDArray[np.float32]:
    """Return logits of each image by a last layer that was fitted to the images of other folds.

    The features may have been learned from the image's own label, so a network that has not seen the image is a better
    judge (`kilnet.runs.folds`); this takes seconds in place of trainings. Groups stay in one fold.

    Args:
        features: of the images of `split`.
        split: with at least two classes.
        num_classes: of the data.
        seed: of the folds.
        progress: told how many folds are done.

    Raises:
        DataError: too few images for two folds.
    """
    num_units = len(split) if split.groups is None else len(np.unique(split.groups))
    num_folds = min(NUM_FOLDS, num_units)
    if num_folds < 2:
        raise DataError("too few images to judge some by the others")
    fold_of = folds(split, num_folds, seed)
    found = np.empty((len(split), num_classes), np.float32)
    for fold in range(num_folds):
        inside = fold_of != fold
        head = nn.Linear(features.shape[1], num_classes)
        groups = None if split.groups is None else split.groups[inside]
        fit_head(head, features[inside].astype(np.float16), split.labels[inside], groups=groups)
        with torch.inference_mode():
            found[~inside] = head(torch.from_numpy(features[~inside])).numpy()
        progress("judge training labels", fold + 1, num_folds)
    return found
