"""Pictures of the run's own validation split, to try a network with."""

import os
from dataclasses import dataclass

import numpy as np

from kilnet.config import DataConfig
from kilnet.data.cifar10_files import BINARY
from kilnet.data.dataset import ImageDataset
from kilnet.server.answers import png
from kilnet.storage import cache_folder

_NUM_EXAMPLES = 16


@dataclass(frozen=True)
class Example:
    """A validation image: its name, its class, and the image as a PNG file."""

    name: str
    truth: str
    png: bytes


def examples_of(dataset: ImageDataset) -> tuple[Example, ...]:
    """Return up to 16 validation images: the first of each class, then the second of each, and so on."""
    split = dataset.validation
    ranks = np.zeros(len(split), np.int64)
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        ranks[members] = np.arange(len(members))
    chosen = np.lexsort((split.labels, ranks))[:_NUM_EXAMPLES]
    return tuple(
        Example(split.names[index], dataset.classes[split.labels[index]], png(split.images[index]))
        for index in chosen
    )


def is_at_hand(config: DataConfig) -> bool:
    """Whether the data can be read without fetching it; a server does not wait for a download."""
    copy = config.dir or os.environ.get("KILNET_DATA")
    return config.source != "cifar10" or bool(copy) or (cache_folder() / "cifar10" / BINARY.archive).exists()
