"""Who may use the server, how others are refused, and the headers that every answer carries.

Every page that a user visits can send requests to a server on the loopback address. If the page also makes its own
name resolve to that address (DNS rebinding), it can read the answers. So `Host` must be a name that nobody else can
own, and requests that a browser marks as coming from another site are refused.
"""

import asyncio
import ipaddress
import re
import socket
from contextlib import suppress
from time import monotonic

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kilnet.server.counters import RequestCounters

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_ENCODED_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:/?#@\[\]\s]+)(:\d{1,5})?", re.IGNORECASE)


# Closing a connection while the client is still sending resets it, and the answer may be lost. So the server reads and
# drops the rest of a request first, up to these limits.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 2**26
BODY_IS_READ = "kilnet.body_is_read"
"""Key of a request's scope, which says whether its body has been received to the end."""


class RefusedError(Exception):
    """Makes the server refuse a request, with `status` and `reason`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Refusal(JSONResponse):
    """The answer `{"detail": reason}`; the rest of the request's body is dropped, and the connection is closed."""

    def __init__(self, status: int, reason: str) -> None:
        headers = {"connection": "close", **({"retry-after": "1"} if status == 503 else {})}
        super().__init__({"detail": reason}, status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, and drop the rest of the request."""
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


class Guard:
    """Refuses foreign hosts and origins before anything else runs, counts requests, and adds headers to every answer.

    Args:
        app: the application that it guards.
        names: host names of this server, apart from addresses and `localhost`.
        counters: count every request.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str], counters: RequestCounters) -> None:
        self._app = app
        self._names = names
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = monotonic(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *_ENCODED_HEADERS]}
            await send(message)

        async def noted_receive() -> Message:
            message = await receive()
            scope[BODY_IS_READ] = not message.get("more_body", False)
            return message

        try:
            answer = self._refusal(scope) or self._app
            await answer(scope, noted_receive, send_with_headers)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._counters.count(path, status, monotonic() - start)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = {name: [v.decode("latin-1") for n, v in scope["headers"] if n == name] for name in _READ}
        host = headers[b"host"]
        if len(host) != 1 or not is_own(host[0], self._names):
            return Refusal(
                421, "this server has another name; use its address, or start it with this name as its host"
            )
        origins = {origin.partition("://")[2].lower() for origin in headers[b"origin"]}  # "null" becomes ""
        if origins - {host[0].lower()}:
            return Refusal(403, "requests from other sites' pages are refused")
        foreign = set(headers[b"sec-fetch-site"]) - {"same-origin", "none"}
        if foreign and scope["path"].startswith("/api/"):
            return Refusal(403, "requests from other sites' pages are refused")
        return None


_READ = (b"host", b"origin", b"sec-fetch-site")


def own_names(host: str) -> frozenset[str]:
    """Return the names of a server that listens at `host`, apart from addresses and `localhost`."""
    names = {host.lower()}
    if not is_loopback(host):
        names.add(socket.gethostname().lower())
    return frozenset(names)


def is_own(authority: str, names: frozenset[str]) -> bool:
    """Return whether a `Host` header names this server: an address, `localhost`, or one of `names`, with any port.

    Any port, because of tunnels. Any address, because an address cannot be rebound: what a browser loads from it comes
    from this machine.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    name = match["name"].lower().strip("[]")
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach a server at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
