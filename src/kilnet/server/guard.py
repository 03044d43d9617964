"""Who may talk to the server, and what every answer says to the browser.

A server on the loopback address is within reach of every page that its user visits: a page can send requests there,
and after changing what its own name resolves to (DNS rebinding) it can read the answers. So the name in `Host` must be
one that nobody else can own, and what a browser marks as coming from another site is refused.
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


class Guard:
    """Refuses foreign hosts and origins before anything else runs; counts; adds the browser's rules to each answer.

    Args:
        app: what is guarded.
        names: host names that stand for this server, beside addresses and `localhost`.
        counters: told about every request.
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
                421, "this name is not the server's; use its address, or start it with --host and the name"
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
    """Return the names of a server that listens at `host`, beside addresses and `localhost`."""
    names = {host.lower()}
    if not is_loopback(host):
        names.add(socket.gethostname().lower())
    return frozenset(names)


def is_own(authority: str, names: frozenset[str]) -> bool:
    """Whether a `Host` names this server: an address, `localhost`, or one of `names`; any port, for tunnels.

    An address cannot be rebound: a page that was loaded from it came from this machine.
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
    """Whether only programs on this machine reach a server at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
