"""Pictures in grey: one channel where all of them are."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.data.mapped_images import empty_images


def in_channels(
    images: npt.NDArray[np.uint8], channels: Literal["fitted", "grey", "colour"]
) -> npt.NDArray[np.uint8]:
    """Return images with the channels that `data.channels` asks for; grey is ITU-R 601-2 luma.

    Args:
        images: uint8 (num_images, 3, height, width).
        channels: "fitted": one where all pixels of all images are grey, else three.
    """
    if channels == "colour" or (channels == "fitted" and not all_grey(images)):
        return images
    grey = empty_images((len(images), 1, *images.shape[2:]))
    for square, image in zip(grey, images, strict=True):
        square[0] = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).convert("L")
    return grey


def all_grey(images: npt.NDArray[np.uint8]) -> bool:
    """Whether there are images, and red, green and blue are the same in every pixel; stops at the first of colour."""
    return len(images) > 0 and all(
        np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]) for image in images
    )
