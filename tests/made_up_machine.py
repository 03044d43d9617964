"""A machine whose clock runs as fast as the work is done, and what is trained on it."""

import numpy as np

from kilnet.data.dataset import ImageDataset, Split
from kilnet.hardware import Settings

SETTINGS = Settings("cpu", "fp32", "contiguous", 1)
HARDWARE = {
    "hardware.device": "cpu",
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}
TINY = HARDWARE | {"model.widths": [4, 4], "training.batch_size": 20}
SIDE = 12
STEP = 1.0  # seconds of a step of 25 images at full size, by the made-up clock
VALIDATION = 0.9  # 60 images, and 30 for batch norm, at a quarter of a step's price


def make_dataset(num_train=100, num_validation=60, channels=3, side=SIDE):
    random = np.random.default_rng(0)

    def split(num_images):
        labels = np.arange(num_images) % 3
        images = random.integers(0, 120, (num_images, channels, side, side))
        images += 45 * labels[:, None, None, None]
        return Split(images.astype(np.uint8), labels.astype(np.int64), tuple(map(str, range(num_images))))

    return ImageDataset("made", ("a", "b", "c"), split(num_train), split(num_validation), split(6))


class Machine:
    """A clock that runs while a network computes: as many seconds as pixels, times what else the machine does."""

    def __init__(self, load=lambda now: 1.0):
        self.now = 0.0
        self.load = load

    def clock(self):
        return self.now

    def work(self, model, inputs, _):
        images = len(inputs[0]) * inputs[0][0].numel() / (3 * SIDE * SIDE)
        self.now += images / 25 * STEP * (1.0 if model.training else 0.25) * self.load(self.now)
