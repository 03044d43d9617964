"""One picture from the body of a request, with limits on bytes and time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.requests import Request

from kilnet.server.body import receive
from kilnet.server.decoding import MAX_BYTES
from kilnet.server.guard import RefusedError

_MAX_BYTES_HELD = 2**28  # in all pictures that are being received and decoded
_BODY_SECONDS = 30.0  # for one picture: enough for 20 MB at 5.6 Mbit/s
_MEDIA_TYPES = ("image/", "application/octet-stream")


class Uploads:
    """Receives pictures; limits the memory that all of them use together."""

    def __init__(self) -> None:
        self._num_bytes_held = 0

    @asynccontextmanager
    async def picture(self, request: Request) -> AsyncIterator[bytes]:
        """Yield a request's body, which counts as held until the context ends.

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
            await receive(request, partial(self._hold, content), _BODY_SECONDS, "picture")
            yield bytes(content)
        finally:
            self._num_bytes_held -= len(content)

    def _hold(self, content: bytearray, chunk: bytes) -> None:
        if len(content) + len(chunk) > MAX_BYTES:
            raise _too_large()
        if self._num_bytes_held + len(chunk) > _MAX_BYTES_HELD:
            raise RefusedError(503, "too many pictures are being sent at once; try again")
        content += chunk
        self._num_bytes_held += len(chunk)


def _too_large() -> RefusedError:
    return RefusedError(413, f"more than {MAX_BYTES // 2**20} MB")
