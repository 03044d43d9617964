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

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import RunFolderError, StorageError
from kilnet.hardware import Settings
from kilnet.inference.classifier import read_tensors, write_tensors
from kilnet.models.pretrained import Featured
from kilnet.storage import cache_folder, make_folder
from kilnet.training.head import FittedHead, fit_head
from kilnet.training.records import StepRecord

_BATCH_SIZE = 64


def fit_first(
    model: nn.Module,
    dataset: ImageDataset,
    config: RunConfig,
    preprocessing: Preprocessing,
    settings: Settings,
) -> Generator[StepRecord, None, FittedHead]:
    """Fit the last layer of a network to its features of the training images, and of their mirror images.

    Mirror images count where `augment.horizontal_flip` is above 0. Features are kept in the cache, by the network's
    weights, the images and what they are computed with, so that another run begins at once.

    Args:
        model: with a method `features` and a linear layer `fc`, on the settings' device; left in evaluation mode.
        dataset: its training images.
        config, preprocessing, settings: of the run.

    Yields:
        One record of epoch 0 for each batch of images.

    Returns:
        How the layer does on the training images.
    """
    views = [False, True] if config.augment.horizontal_flip else [False]
    key = hashlib.sha256(
        json.dumps([settings.record().model_dump(), vars(preprocessing), dataset.fingerprint, views]).encode()
    )
    for name, tensor in model.state_dict().items():
        if not name.startswith("fc."):
            key.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    path = cache_folder() / "features" / f"{key.hexdigest()[:32]}.safetensors"
    seen = _kept(path)
    if seen is None:
        parts = []
        total = len(views) * -(-len(dataset.train) // _BATCH_SIZE)
        pixels = torch.from_numpy(dataset.train.images)
        for part in _features(model, pixels, views, preprocessing, settings):
            parts.append(part)
            yield StepRecord(epoch=0, step=len(parts), num_steps=total, num_images=len(part))
        seen = np.concatenate(parts).reshape(len(views), len(dataset.train), -1)
        _keep(path, seen)
    weights = dataset.train.weights
    counts = None if weights is None else weights / weights.mean()
    return fit_head(cast("Featured", model).fc, seen, dataset.train.labels.astype(np.int64), counts)


def _features(
    model: nn.Module, pixels: Tensor, views: list[bool], preprocessing: Preprocessing, settings: Settings
) -> Iterator[npt.NDArray[np.float16]]:
    """Yield features, (num_images, num_features), batch after batch.

    Half precision halves what is kept, and loses less than layers in bf16 already have.
    """
    model.eval()
    network = cast("Featured", model)
    for is_mirrored in views:
        for batch in torch.split(pixels, _BATCH_SIZE):
            images = preprocessing(batch.to(settings.device))
            images = settings.place_images(images.flip(3) if is_mirrored else images)
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
