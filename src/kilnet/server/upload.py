"""One picture from the body of a request, with limits on bytes, time and pixels."""

import asyncio
import threading
from contextlib import nullcontext
from math import prod

import numpy as np
import numpy.typing as npt
from starlette.requests import ClientDisconnect, Request

from kilnet.data.decode import stored_size, to_input
from kilnet.errors import DataError, TooLargeImageError
from kilnet.server.guard import RefusedError

MAX_BYTES = 20 * 2**20
"""Of one picture; photographs from a phone have 3 to 12 MB."""
MAX_PIXELS = 50_000_000
"""Of one picture; decoding needs at most 17 bytes per pixel (for transparency on white)."""
_MAX_BYTES_HELD = 2**28  # in all pictures that are being received
_BODY_SECONDS = 30.0  # for one picture: enough for 20 MB at 5.6 Mbit/s
_LARGE_PIXELS = 4_000_000  # larger pictures are decoded one at a time, to save memory
_MEDIA_TYPES = ("image/", "application/octet-stream")


class Uploads:
    """Receives and decodes pictures; limits the memory that all of them use together."""

    def __init__(self) -> None:
        self._num_bytes_held = 0
        self._one_large = threading.Lock()

    async def read(self, request: Request) -> bytes:
        """Return a request's body.

        Raises:
            RefusedError: 413, it is too large (the rest is not read); 415, its type is not that of a picture; 408, it
                arrives too slowly; 503, too many pictures are being sent at once.
        """
        media_type = request.headers.get("content-type", "").lower()
        if not media_type.startswith(_MEDIA_TYPES):
            reason = (
                "send the picture file itself as the body, with the type image/* or application/octet-stream"
            )
            raise RefusedError(415, reason)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_BYTES:
            raise _too_large()
        content = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for chunk in request.stream():
                    if len(content) + len(chunk) > MAX_BYTES:
                        raise _too_large()
                    if self._num_bytes_held + len(chunk) > _MAX_BYTES_HELD:
                        raise RefusedError(503, "too many pictures are being sent at once; try again")
                    content += chunk
                    self._num_bytes_held += len(chunk)
        except TimeoutError:
            raise RefusedError(408, f"the picture did not arrive within {_BODY_SECONDS:.0f} s") from None
        except ClientDisconnect:
            raise RefusedError(400, "the connection ended before the picture was complete") from None
        finally:
            self._num_bytes_held -= len(content)
        return bytes(content)

    def decode(self, content: bytes, image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
        """Return the picture as the network takes it: uint8 (channels, height, width). It runs in a thread.

        Args:
            content: bytes of the file.
            image_shape: (channels, height, width) of the network.

        Raises:
            RefusedError: 415, it is not a picture, or damaged; 413, it has too many pixels (none is decoded).
        """
        try:
            num_pixels = prod(stored_size(content))
            if num_pixels > MAX_PIXELS:
                raise RefusedError(413, f"more than {MAX_PIXELS / 1e6:.0f} million pixels")
            with self._one_large if num_pixels > _LARGE_PIXELS else nullcontext():
                return to_input(content, image_shape)
        except TooLargeImageError as error:
            raise RefusedError(413, str(error)) from None
        except DataError as error:
            raise RefusedError(415, str(error)) from None


def _too_large() -> RefusedError:
    return RefusedError(413, f"more than {MAX_BYTES // 2**20} MB")
