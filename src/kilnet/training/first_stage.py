"""The first stage of a pretrained network: its features of all training images, and a last layer fitted to them."""

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import RunFolderError, StorageError
from kilnet.hardware import Settings
from kilnet.inference import feature_pass
from kilnet.inference.classifier import read_tensors, write_tensors
from kilnet.inference.feature_pass import FeaturePass
from kilnet.metrics.class_counts import log_shares
from kilnet.models.pretrained import Featured
from kilnet.storage import cache_folder, make_folder
from kilnet.training.head import FittedHead, fit_head, fit_seconds
from kilnet.training.records import StepRecord

_SAVING_SECONDS = 3.0  # with the learning curves, for which matplotlib is imported


def fit_first(
    model: nn.Module,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    settings: Settings,
    *,
    is_balanced: bool = False,
    left: Callable[[], float] | None = None,
    most: int | None = None,
    num_validation: int | None = None,
) -> Generator[StepRecord, None, FittedHead]:
    """Fit the last layer of a network to its features of the training images, as many as there is time for.

    Features are kept in the cache, by the network's weights, the images and what they are computed with, so that
    another run begins at once, and one that had time for some continues with the others. Mirror images would take as
    long again and bring nothing (docs/experiments.md).

    Args:
        model: with a method `features` and a linear layer `fc`, on the settings' device; left in evaluation mode.
        dataset: its training images, in random order.
        preprocessing, settings: of the run.
        is_balanced: whether the layer answers as if all classes were equally common.
        left: tells how many seconds there are until the network has to be validated and saved. Features of further
            images are computed only while enough of them is left to fit the layer, validate and save; there are always
            some, of two classes at least. None, the features of all images are computed, whatever that takes.
        most: so many of the first images are enough; None, all of them.
        num_validation: images that are validated at the end; None, all of the data set's.

    Yields:
        One record of epoch 0 for each batch of images.

    Returns:
        How the layer does on the training images that it was fitted to.
    """
    path = _path(model, dataset, preprocessing, settings)
    head = cast("Featured", model).fc
    seen = _kept(path, head.in_features)
    num_kept = len(seen)
    num_images = min(most or len(dataset.train), len(dataset.train))
    num_validation = len(dataset.validation) if num_validation is None else num_validation
    labels, num_classes = dataset.train.labels.astype(np.int64), len(dataset.classes)
    end_seconds = _SAVING_SECONDS
    is_enough = num_kept > 0 and labels[:num_kept].min() < labels[:num_kept].max()
    is_late = left is not None and left() < fit_seconds(num_kept, num_classes) + end_seconds
    if num_kept < num_images and not (is_enough and is_late):
        parts, num_done = [seen], num_kept
        pixels = torch.from_numpy(dataset.train.images[num_kept:])
        features = FeaturePass(model, preprocessing, settings, pixels)
        size = features.num_together
        left_before = left() if left else 0.0
        total = -(-(num_images - num_kept) // size)
        for step, part in enumerate(
            features(pixels[: total * size]), 1
        ):  # whole batches, or bits would differ
            parts.append(part)
            num_done += len(part)
            yield StepRecord(epoch=0, step=step, num_steps=total, num_images=len(part))
            if left is None or labels[:num_done].min() == labels[:num_done].max():
                continue
            each = (left_before - left()) / (num_done - num_kept)
            end_seconds = each * num_validation + _SAVING_SECONDS
            if left() < end_seconds + fit_seconds(num_done, num_classes) + 2 * size * each:
                break
        seen = np.concatenate(parts)
        _keep(path, seen)
    seen = seen[:num_images]
    labels, weights, shift = labels[: len(seen)], dataset.train.relative_weights, None
    if is_balanced:
        shift = log_shares(np.bincount(labels, minlength=num_classes))
    return fit_head(
        head,
        seen,
        labels,
        None if weights is None else weights[: len(seen)],
        shift,
        None if left is None else lambda: left() - end_seconds,
    )


def num_kept(
    model: nn.Module, dataset: ImageDataset, preprocessing: Preprocessing, settings: Settings
) -> int:
    """Return of how many training images the features are in the cache, for a run with a budget."""
    path = _path(model, dataset, preprocessing, settings)
    return len(_kept(path, cast("Featured", model).fc.in_features))


def _path(model: nn.Module, dataset: ImageDataset, preprocessing: Preprocessing, settings: Settings) -> Path:
    """Return where features are kept; another torch may compute other last bits."""
    settled = settings.record().model_dump(exclude={"weight_gradient"})
    question: list[object] = [settled, vars(preprocessing), dataset.fingerprint]
    question += [feature_pass.VERSION, torch.__version__]
    key = hashlib.sha256(json.dumps(question).encode())
    for name, tensor in model.state_dict().items():
        if not name.startswith("fc."):
            key.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return cache_folder() / "features" / f"{key.hexdigest()[:32]}.safetensors"


def _kept(path: Path, num_features: int) -> npt.NDArray[np.float16]:
    """Return the features of the first images, as many as are in the cache."""
    try:
        return read_tensors(path)[0]["features"].numpy()
    except (FileNotFoundError, RunFolderError):
        return np.empty((0, num_features), np.float16)


def _keep(path: Path, seen: npt.NDArray[np.float16]) -> None:
    with suppress(StorageError):  # they are computed again next time
        make_folder(path.parent, parents=True)
        write_tensors(path, {"features": torch.from_numpy(seen)}, {})
