"""What the network says about pictures, and example pictures to try."""

import base64
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.config import DataConfig
from kilnet.data.cifar10_files import BINARY
from kilnet.data.dataset import ImageDataset
from kilnet.errors import ModelError
from kilnet.inference.classifier import Classifier, Prediction
from kilnet.inspection.attribution import grad_cams
from kilnet.storage import cache_folder

_NUM_EXAMPLES = 16


@dataclass(frozen=True, eq=False)
class Question:
    """A picture as the network takes it, uint8 (channels, height, width), and whether a heat map is wanted."""

    image: npt.NDArray[np.uint8]
    explain: bool


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction; `heat` is float32 (height, width), 0 to 1, or None if unwanted or without a convolution."""

    prediction: Prediction
    heat: npt.NDArray[np.float32] | None


def answer(classifier: Classifier, questions: Sequence[Question]) -> list[Answer]:
    """Answer several questions with one forward pass, and one backward pass for those that want a heat map."""
    images = np.stack([question.image for question in questions])
    predictions = classifier.predictions([""] * len(images), images)
    explained = [index for index, question in enumerate(questions) if question.explain]
    heats: dict[int, npt.NDArray[np.float32]] = {}
    if explained:
        labels = np.array([classifier.classes.index(predictions[index].label) for index in explained])
        with suppress(ModelError):  # the network has no convolution
            heats = dict(zip(explained, grad_cams(classifier, images[explained], labels), strict=True))
    return [Answer(prediction, heats.get(index)) for index, prediction in enumerate(predictions)]


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """Return an image as a PNG file: uint8 (1 or 3, height, width), or (height, width)."""
    pixels = image if image.ndim == 2 else image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def base64_png(image: npt.NDArray[np.uint8]) -> str:
    """Return an image as a PNG file in base64, for JSON; see `png`."""
    return base64.b64encode(png(image)).decode()


@dataclass(frozen=True)
class Example:
    """A validation image: its name, its class, and its pixels as a PNG file."""

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
    """Return whether the data can be read without a download; a server does not wait for one."""
    copy = config.dir or os.environ.get("KILNET_DATA")
    return config.source != "cifar10" or bool(copy) or (cache_folder() / "cifar10" / BINARY.archive).exists()
