"""Pictures decoded once, from which squares of several sizes are made."""

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    """

    def __init__(self, room: int) -> None:
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
