"""Pictures as a person looks at them: the file as it is, made smaller, or else what the network sees."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.data.decode import decode
from kilnet.errors import RunFolderError, UnusableImageError
from kilnet.folders import inside
from kilnet.inspection.review_queue import Shown
from kilnet.server.answers import png

LONGER_SIDE_PX = 900
"""Larger photographs are reduced to this: enough for a large screen."""
_QUALITY = 85


class ReviewPictures:
    """The pictures of a review.

    Args:
        images: uint8 (num_images, channels, height, width) of each split, by its name.
        folder: where the names of images are paths of files; None where they are none.
    """

    def __init__(self, images: Mapping[str, npt.NDArray[np.uint8]], folder: Path | None) -> None:
        self._images, self._folder = dict(images), folder

    def add(self, split: str, images: npt.NDArray[np.uint8]) -> None:
        """Add the images of a split."""
        self._images[split] = images

    def content(self, shown: Shown) -> tuple[bytes, str]:
        """Return a picture as a file, and its media type."""
        seen = self._images[shown.split][shown.place]
        if self._folder is not None and ".." not in Path(shown.name).parts:
            try:
                if inside(self._folder, shown.name).is_file():
                    pixels, _ = decode(self._folder / shown.name)
                    if max(pixels.shape[:2]) > max(seen.shape[1:]):
                        return _webp(pixels), "image/webp"
            except (UnusableImageError, RunFolderError, OSError):
                pass  # what the network sees is shown all the same
        return png(seen), "image/png"


def _webp(pixels: npt.NDArray[np.uint8]) -> bytes:
    picture, content = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
    picture.save(content, "WEBP", quality=_QUALITY, method=2)
    return content.getvalue()
