"""Small runs on made-up images."""

import numpy as np

import kilnet
from kilnet.data.dataset import ImageDataset, Split

SMALL = {
    "model.name": "ResNet",
    "model.depth": 8,
    "model.width": 4,
    "training.epochs": 2,
    "training.batch_size": 20,
    "hardware.device": "cpu",
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}


def make_dataset(offset=0):
    random = np.random.default_rng(0)

    def split(num_images):
        labels = np.arange(num_images) % 2
        images = random.integers(0, 150, (num_images, 1, 8, 8)) + 90 * labels[:, None, None, None] + offset
        return Split(images.astype(np.uint8), labels.astype(np.int64), tuple(map(str, range(num_images))))

    return ImageDataset("made", ("dark", "light"), split(60), split(20), split(20))


def train(folder, dataset=None, **settings):
    return kilnet.train(dataset or make_dataset(), settings=SMALL | settings, out=folder, progress=False)


def kept(folder):
    return {
        name: (folder / name).read_bytes() for name in ("weights.safetensors", "history.csv", "config.toml")
    }
