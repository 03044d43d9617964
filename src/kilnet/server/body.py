"""The body of a request, received within a limit of time."""

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from kilnet.server.guard import RefusedError


async def receive(request: Request, take: Callable[[bytes], None], seconds: float, what: str) -> None:
    """Hand the body of a request on, a piece at a time.

    Args:
        take: keeps a piece; it raises RefusedError for what is too much, and the rest is not read.
        seconds: for all of it.
        what: is sent, for messages.

    Raises:
        RefusedError: 408, it arrives too slowly; 400, the connection ended before.
    """
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                take(chunk)
    except TimeoutError:
        raise RefusedError(408, f"the {what} did not arrive within {seconds:.0f} s") from None
    except ClientDisconnect:
        raise RefusedError(400, f"the connection ended before the {what} was complete") from None
