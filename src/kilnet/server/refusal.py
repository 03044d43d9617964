"""Answers that say no, also to somebody who is still sending."""

import asyncio
from contextlib import suppress

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

# Closing a connection while its peer sends resets it, and the answer may be lost. So what still comes is thrown away
# for a moment; whoever sends longer is cut off.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 2**26
BODY_IS_READ = "kilnet.body_is_read"
"""Key of a request's scope, set once its body has been received to the end."""


class RefusedError(Exception):
    """A request is refused; the server answers with `status` and `reason`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Refusal(JSONResponse):
    """`{"detail": reason}`; the rest of the request's body is not read, and the connection ends."""

    def __init__(self, status: int, reason: str) -> None:
        headers = {"connection": "close", **({"retry-after": "1"} if status == 503 else {})}
        super().__init__({"detail": reason}, status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, then linger."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        if not scope.get(BODY_IS_READ):
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    num_bytes, message = 0, await receive()
                    while message.get("more_body") and num_bytes < _LINGER_BYTES:
                        num_bytes += len(message.get("body", b""))
                        message = await receive()
        await send({"type": "http.response.body", "body": b""})
