"""scikit-learn's handwritten digits: 1,797 grey images that come with the package."""

import numpy as np

from kilnet.config import DataConfig
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.decode import resized
from kilnet.data.splits import complete

DEFAULT_SIZE = 16
"""Twice the stored 8 pixels: four convolutions and poolings of 2, as in the tutorial's nets, need 16."""


def load_digits(config: DataConfig) -> ImageDataset:
    """Return the digits: 1 × 16 × 16 unless `image_size` says otherwise, 10 classes, split by class.

    The data are the test part of https://archive.ics.uci.edu/dataset/80 (E. Alpaydin, C. Kaynak), pixels 0 to
    16, here scaled to 0 to 255.
    """
    from sklearn import datasets  # a second to import

    digits = datasets.load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    images = resized(pixels, config.image_size or DEFAULT_SIZE)
    classes = tuple(str(name) for name in digits.target_names)
    whole = Split(images, digits.target.astype(np.int64), tuple(f"{i:04}" for i in range(len(images))))
    return ImageDataset("digits", classes, *complete(whole, None, None, classes, config))
