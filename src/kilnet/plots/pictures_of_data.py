"""Figures of training images, and of what augmentation makes of them."""

from collections.abc import Mapping
from typing import Any

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import Data, in_memory
from kilnet.errors import InputError
from kilnet.figures import mosaics
from kilnet.figures.charts import Figure
from kilnet.seeding import generator
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.request import requested


def training_images(
    data: Data = "cifar10", count: int = 12, *, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> Figure:
    """Draw training images at random, one row per class; `settings` are those of `kilnet.train`."""
    dataset, _ = _dataset(data, settings, seed)
    return mosaics.images_by_class(
        dataset.train,
        dataset.classes,
        _at_least_one("count", count),
        seed,
        f"{dataset.name}, training images",
    )


def augmentation(
    data: Data = "cifar10",
    settings: Mapping[str, Any] | None = None,
    *,
    count: int = 6,
    num_epochs: int = 8,
    seed: int = 0,
) -> Figure:
    """Draw training images, and what `kilnet.train` with these settings and this seed makes of them in each epoch."""
    dataset, config = _dataset(data, settings, seed)
    order = generator(seed, "augmentation").permutation(len(dataset.train))
    indices = order[: _at_least_one("count", count)]
    num_epochs = _at_least_one("num_epochs", num_epochs)
    return mosaics.augmentation(dataset.train, indices, config.augment, seed, num_epochs)


def _dataset(data: Data, settings: Mapping[str, Any] | None, seed: int) -> tuple[ImageDataset, RunConfig]:
    config = requested(data, None, None, settings, None, seed, None)
    with ProgressDisplay() as display:
        return in_memory(data, config.data, display.advance).sealed(), config


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{name} is {value}; it must be at least 1")
    return value
