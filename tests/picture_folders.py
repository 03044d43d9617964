"""Folders of pictures for tests of data."""

from pathlib import Path

import numpy as np
from PIL import Image

from kilnet.config import DataConfig
from kilnet.data.sources import load_dataset

RNG = np.random.default_rng(0)


def save_picture(path: Path, width: int = 20, height: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def make_folder(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), num: int = 6) -> Path:
    for name in classes:
        for i in range(num):
            save_picture(folder / name / f"{i}.png")
    return folder


def load(folder: Path, **settings: object):
    return load_dataset(DataConfig(source=str(folder), **settings))


def every_image(dataset):
    for split in (dataset.train, dataset.validation, dataset.test):
        yield from zip(split.names, split.images, split.labels, strict=True)
