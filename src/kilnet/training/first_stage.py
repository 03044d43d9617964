"""The first stage of a pretrained network: its features of all training images, and a last layer fitted to them."""

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import RunFolderError, StorageError
from kilnet.hardware import Settings
from kilnet.inference.classifier import read_tensors, write_tensors
from kilnet.metrics.class_counts import log_shares
from kilnet.models.pretrained import Featured
from kilnet.storage import cache_folder, make_folder
from kilnet.training.head import FittedHead, fit_head
from kilnet.training.records import StepRecord

_BATCH_SIZE = 64


def fit_first(
    model: nn.Module,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    settings: Settings,
    *,
    is_balanced: bool = False,
) -> Generator[StepRecord, None, FittedHead]:
    """Fit the last layer of a network to its features of the training images.

    Features are kept in the cache, by the network's weights, the images and what they are computed with, so that
    another run begins at once. Mirror images would take as long again and bring nothing (docs/experiments.md).

    Args:
        model: with a method `features` and a linear layer `fc`, on the settings' device; left in evaluation mode.
        dataset: its training images.
        preprocessing, settings: of the run.
        is_balanced: whether the layer answers as if all classes were equally common.

    Yields:
        One record of epoch 0 for each batch of images.

    Returns:
        How the layer does on the training images.
    """
    path = _path(model, dataset, preprocessing, settings)
    seen = _kept(path)
    if seen is None:
        parts = []
        total = -(-len(dataset.train) // _BATCH_SIZE)
        pixels = torch.from_numpy(dataset.train.images)
        for part in _features(model, pixels, preprocessing, settings):
            parts.append(part)
            yield StepRecord(epoch=0, step=len(parts), num_steps=total, num_images=len(part))
        seen = np.concatenate(parts)
        _keep(path, seen)
    labels, shift = dataset.train.labels.astype(np.int64), None
    if is_balanced:
        shift = log_shares(np.bincount(labels, minlength=len(dataset.classes)))
    return fit_head(cast("Featured", model).fc, seen, labels, dataset.train.relative_weights, shift)


def are_kept(
    model: nn.Module, dataset: ImageDataset, preprocessing: Preprocessing, settings: Settings
) -> bool:
    """Whether the features that `fit_first` would compute are in the cache."""
    return _path(model, dataset, preprocessing, settings).is_file()


def _path(model: nn.Module, dataset: ImageDataset, preprocessing: Preprocessing, settings: Settings) -> Path:
    computed_with = settings.record().model_dump()
    key = hashlib.sha256(json.dumps([computed_with, vars(preprocessing), dataset.fingerprint]).encode())
    for name, tensor in model.state_dict().items():
        if not name.startswith("fc."):
            key.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return cache_folder() / "features" / f"{key.hexdigest()[:32]}.safetensors"


def _features(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings
) -> Iterator[npt.NDArray[np.float16]]:
    """Yield features, (num_images, num_features), batch after batch.

    Half precision halves what is kept, and loses less than layers in bf16 already have.
    """
    model.eval()
    network = cast("Featured", model)
    for batch in torch.split(pixels, _BATCH_SIZE):
        images = settings.place_images(preprocessing(batch.to(settings.device)))
        with torch.inference_mode(), settings.autocast():
            yield network.features(images).half().cpu().numpy()


def _kept(path: Path) -> npt.NDArray[np.float16] | None:
    try:
        return read_tensors(path)[0]["features"].numpy()
    except (FileNotFoundError, RunFolderError):
        return None


def _keep(path: Path, seen: npt.NDArray[np.float16]) -> None:
    with suppress(StorageError):  # they are computed again next time
        make_folder(path.parent, parents=True)
        write_tensors(path, {"features": torch.from_numpy(seen)}, {})
