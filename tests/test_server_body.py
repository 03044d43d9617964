"""Bodies that arrive in pieces, too slowly, or not to their end."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from starlette.requests import Request

from kilnet.server.body import receive
from kilnet.server.guard import RefusedError


def request(*messages, seconds=0.0):
    """Return a request whose body comes in these messages, each after so many seconds."""
    waiting = iter(messages)

    async def message():
        await asyncio.sleep(seconds)
        return next(waiting)

    return Request({"type": "http", "headers": []}, message)


def piece(content, more_body=True):
    return {"type": "http.request", "body": content, "more_body": more_body}


def test_pieces_are_handed_on_in_their_order():
    content = bytearray()
    asyncio.run(receive(request(piece(b"ab"), piece(b"c", False)), content.extend, 5, "picture"))
    assert content == b"abc"


def test_a_slow_body_is_408_and_one_that_ends_early_400():
    with pytest.raises(RefusedError, match=r"^the picture did not arrive within 0 s$") as refused:
        asyncio.run(receive(request(piece(b"a"), seconds=1), lambda _: None, 0.05, "picture"))
    assert refused.value.status == 408
    gone = request(piece(b"a"), {"type": "http.disconnect"})
    with pytest.raises(RefusedError, match="ended before the request was complete") as refused:
        asyncio.run(receive(gone, lambda _: None, 5, "request"))
    assert refused.value.status == 400


def test_nothing_is_read_behind_what_is_too_much():
    def take(_):
        raise RefusedError(413, "too much")

    with pytest.raises(RefusedError, match="too much"):
        asyncio.run(receive(request(piece(b"a")), take, 5, "picture"))
