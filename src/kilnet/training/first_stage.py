"""The first stage of a pretrained network: its features of all training images, and a last layer fitted to them."""

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import RunFolderError, StorageError
from kilnet.hardware import Settings
from kilnet.inference import feature_pass
from kilnet.inference.feature_pass import FeaturePass
from kilnet.inference.kept_tensors import read_tensors, write_tensors
from kilnet.inference.mcnemar import mcnemar
from kilnet.metrics.class_counts import log_shares
from kilnet.models.pretrained import Featured
from kilnet.storage import cache_folder, make_folder
from kilnet.training.head import FittedHead, fit_head, fit_seconds
from kilnet.training.records import EpochRecord, StepRecord

_LUCK = 0.05  # above this probability a difference may be luck
_SAVING_SECONDS = 3.0  # with the learning curves, for which matplotlib is imported


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What the first stage gave.

    Attributes:
        fitted: how the last layer does on the training images that it was fitted to.
        weight, bias: of the last layer, float32 (num_classes, num_features) and (num_classes,), on the CPU.
        features: float16 (num_images, num_features), of these training images, the first ones.
        logits: float32 (num_images, num_classes), of the images that were validated, on the CPU.
        image_seconds: that an image took; None where all features were in the cache.
    """

    fitted: FittedHead
    weight: Tensor
    bias: Tensor
    features: npt.NDArray[np.float16]
    logits: Tensor
    image_seconds: float | None

    def put_into(self, model: nn.Module) -> None:
        """Give the last layer of a network these weights."""
        head = cast("Featured", model).fc
        with torch.no_grad():
            head.weight.copy_(self.weight)
            head.bias.copy_(self.bias)


def fit_first(
    model: nn.Module,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    settings: Settings,
    *,
    is_balanced: bool = False,
    left: Callable[[], float] | None = None,
    most: int | None = None,
    validated: Split | None = None,
    known: npt.NDArray[np.float16] | None = None,
) -> Generator[StepRecord, None, FirstStage]:
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
        validated: images that are validated at the end; None, no images.
        known: features of the first training images that the caller has, if any.

    Yields:
        One record of epoch 0 for each batch of images.
    """
    path = _path(model, dataset, preprocessing, settings)
    head = cast("Featured", model).fc
    kept = _kept(path)
    seen = kept.get("features", np.empty((0, head.in_features), np.float16))
    if known is not None and len(known) > len(seen):
        seen = known
    num_kept, num_before = len(seen), len(kept.get("features", ()))
    num_images = min(most or len(dataset.train), len(dataset.train))
    labels, num_classes = dataset.train.labels.astype(np.int64), len(dataset.classes)
    is_whole = validated is dataset.validation
    answered = kept.get("validation") if is_whole else None
    num_unanswered = 0 if validated is None or answered is not None else len(validated)
    pixels = torch.from_numpy(dataset.train.images)
    features, image_seconds = None, None
    if num_kept < num_images or num_unanswered:
        features = FeaturePass(model, preprocessing, settings, pixels)
    end_seconds = _SAVING_SECONDS
    is_enough = num_kept > 0 and labels[:num_kept].min() < labels[:num_kept].max()
    is_late = left is not None and left() < fit_seconds(num_kept, num_classes) + end_seconds
    if features and num_kept < num_images and not (is_enough and is_late):
        parts, num_done = [seen], num_kept
        size = features.num_together
        total = -(-(num_images - num_kept) // size)
        left_before, start = left() if left else 0.0, monotonic()
        whole = pixels[num_kept : num_kept + total * size]  # batches of one size, or bits would differ
        for step, part in enumerate(features(whole), 1):
            parts.append(part)
            num_done += len(part)
            yield StepRecord(epoch=0, step=step, num_steps=total, num_images=len(part))
            if left is None or labels[:num_done].min() == labels[:num_done].max():
                continue
            each = (left_before - left()) / (num_done - num_kept)
            end_seconds = each * num_unanswered + _SAVING_SECONDS
            if left() < end_seconds + fit_seconds(num_done, num_classes) + 2 * size * each:
                break
        seen = np.concatenate(parts)
        image_seconds = (monotonic() - start) / (num_done - num_kept)
    if features and validated is not None and num_unanswered:
        answered = np.concatenate(list(features(torch.from_numpy(validated.images))))
    if len(seen) > num_before or (is_whole and num_unanswered):
        _keep(
            path, {"features": seen} | ({"validation": answered} if is_whole and answered is not None else {})
        )
    seen = seen[:num_images]
    labels, weights, shift = labels[: len(seen)], dataset.train.relative_weights, None
    if is_balanced:
        shift = log_shares(np.bincount(labels, minlength=num_classes))
    fitted = fit_head(
        head,
        seen,
        labels,
        None if weights is None else weights[: len(seen)],
        shift,
        None if left is None else lambda: left() - _SAVING_SECONDS,
        None if dataset.train.groups is None else dataset.train.groups[: len(seen)],
    )
    weight, bias = (tensor.detach().float().cpu().clone() for tensor in (head.weight, head.bias))
    answered = np.empty((0, head.in_features), np.float16) if answered is None else answered
    return FirstStage(
        fitted=fitted,
        weight=weight,
        bias=bias,
        features=seen,
        logits=F.linear(torch.from_numpy(answered).float(), weight, bias),
        image_seconds=image_seconds,
    )


def num_missing(
    model: nn.Module, dataset: ImageDataset, preprocessing: Preprocessing, settings: Settings
) -> int:
    """Return of how many training and validation images the features are not in the cache."""
    kept = _kept(_path(model, dataset, preprocessing, settings))
    missing = len(dataset.train) - len(kept.get("features", ()))
    return missing + (0 if "validation" in kept else len(dataset.validation))


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


def _kept(path: Path) -> dict[str, npt.NDArray[np.float16]]:
    """Return what is in the cache: `features` of the first training images, perhaps those of `validation`."""
    try:
        return {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()}
    except (FileNotFoundError, RunFolderError):
        return {}


def _keep(path: Path, features: dict[str, npt.NDArray[np.float16]]) -> None:
    with suppress(StorageError):  # they are computed again next time
        make_folder(path.parent, parents=True)
        write_tensors(path, {name: torch.from_numpy(array) for name, array in features.items()}, {})


def gain_of_tuning(history: Sequence[EpochRecord], rights: Mapping[str, Tensor]) -> str:
    """Compare the best network with the one whose last layer alone was fitted, image by image.

    Args:
        history: the epochs of the run, 0 first.
        rights: which validation images each of them has right, "first" and "best", uint8 (num_images,).
    """
    if not any(record.is_best for record in history[1:]):
        return "tuning all layers did no better on validation than features alone, which are kept"
    first, best = (rights[name].bool() for name in ("first", "best"))
    num_won, num_lost = int((best & ~first).sum()), int((first & ~best).sum())
    chance = mcnemar(num_won, num_lost)
    line = f"compared with features alone, {num_won} validation images turned right and {num_lost} wrong"
    return line + ("; so few cannot tell the two apart" if chance > _LUCK else "") + f" (p = {chance:.2g})"
