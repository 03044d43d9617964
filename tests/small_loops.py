"""Small networks, data and loops."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.models import FastNet
from kilnet.recipes.reading import load_config
from kilnet.training.loop import TrainingLoop
from kilnet.training.records import EpochRecord

SETTINGS = Settings("cpu", "fp32", "contiguous", 1)


def make_dataset(num_train=101, num_validation=30, num_classes=3, side=8):
    random = np.random.default_rng(0)

    def split(num_images, name):
        labels = np.arange(num_images) % num_classes
        images = random.integers(0, 120, (num_images, 3, side, side)) + 45 * labels[:, None, None, None]
        return Split(
            images.astype(np.uint8), labels.astype(np.int64), tuple(f"{name}/{i}" for i in range(num_images))
        )

    classes = tuple("abcdefgh"[:num_classes])
    return ImageDataset("made", classes, split(num_train, "train"), split(num_validation, "val"), None)


def make_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(144), nn.Linear(144, 3))


def make_loop(dataset=None, model=None, layout="contiguous", early=None, **settings):
    defaults = {
        "optimizer__schedule": "constant",
        "training__batch_size": 25,
        "training__epochs": 2,
        "training__batch_norm_images": 0,
    }
    config = load_config(settings={k.replace("__", "."): v for k, v in (defaults | settings).items()})
    dataset = dataset or make_dataset()
    hardware = replace(SETTINGS, layout=layout)
    preprocessing = Preprocessing.fit(dataset)
    return TrainingLoop(model or make_model(), dataset, config, preprocessing, hardware, early=early)


def epochs_of(loop):
    return [record for record in loop if isinstance(record, EpochRecord)]


def make_fastnet(side=12):
    torch.manual_seed(1)
    return FastNet((4, 6), image_shape=(3, side, side), num_classes=3)
