"""Pictures decoded once, from which squares of several sizes are made."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.config import Fit
from kilnet.data.archive import Member, found_at
from kilnet.data.decode import MAX_FILE_BYTES, decode
from kilnet.data.squares import to_square
from kilnet.errors import UnusableImageError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Decoded:
    """One picture at its full size.

    Attributes:
        pixels: uint8 (height, width, 3).
        warnings: one line each, of decoding it.
    """

    pixels: Pixels
    warnings: tuple[str, ...]


class DecodedPictures:
    """Decoded pictures in memory, by path, as many as there is room for; the others are decoded again.

    Squares are always made of the whole picture, so that they are those that decoding it again would give.

    Args:
        room: bytes of pixels.

    Attributes:
        folder: where the paths begin; None until it is known.
    """

    def __init__(self, room: int) -> None:
        self.folder: Path | Member | None = None
        self._room = room
        self._pictures: dict[str, Decoded] = {}
        self._lock = threading.Lock()  # several threads decode

    def get(self, path: str) -> Decoded | None:
        """Return a picture, if it is here."""
        return self._pictures.get(path)

    def keep(self, path: str, picture: Decoded) -> None:
        """Take a picture, if there is room."""
        with self._lock:
            if path not in self._pictures and picture.pixels.nbytes <= self._room:
                self._room -= picture.pixels.nbytes
                self._pictures[path] = picture

    def squares(self, paths: Sequence[str], side: int, fitting: Fit) -> Pixels | None:
        """Return some pictures as `to_square` makes them, uint8 (num_images, 3, side, side).

        None where the paths are no files, or one of them can no longer be read.
        """
        folder = self.folder
        if folder is None:
            return None
        images = np.empty((len(paths), 3, side, side), np.uint8)

        def make(index: int) -> None:
            path = paths[index]
            picture = self.get(path)
            if picture is None:
                picture = Decoded(*decode(found_at(folder / path, MAX_FILE_BYTES)))
                self.keep(path, picture)
            images[index] = to_square(picture.pixels, side, fitting)

        try:
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                list(pool.map(make, range(len(paths))))
        except UnusableImageError:
            return None
        return images
