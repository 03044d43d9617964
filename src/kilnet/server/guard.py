"""Who may use the server, how others are refused, what every answer carries, and how requests are counted.

Every page that a user visits can send requests to a server on the loopback address. If the page also makes its own
name resolve to that address (DNS rebinding), it can read the answers. So `Host` must be a name that nobody else can
own, and requests that a browser marks as coming from another site are refused.
"""

import asyncio
import ipaddress
import json
import re
import socket
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from time import monotonic

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_ENCODED_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
_READ = (b"host", b"origin", b"sec-fetch-site")
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:/?#@\[\]\s]+)(:\d{1,5})?", re.IGNORECASE)
# Closing a connection while the client is still sending resets it, and the answer may be lost. So the server reads and
# drops the rest of a request first, up to these limits.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 2**26
BODY_IS_READ = "kilnet.body_is_read"
"""Key of a request's scope, which says whether its body has been received to the end."""
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the metrics: Prometheus' text format 0.0.4."""
_MAX_REQUESTS = 200  # at a time
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class RefusedError(Exception):
    """Makes the server refuse a request, with `status` and `reason`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


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


def raw_refusal(status: int, reason: str) -> bytes:
    """Return a refusal as it is sent where no application has been asked."""
    body = json.dumps({"detail": reason}).encode()
    headers = {
        **_HEADERS,
        "content-type": "application/json",
        "content-length": len(body),
        "connection": "close",
    }
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {text}" for name, text in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class RequestCounters:
    """Counts requests by path and status, and how long they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0

    def count(self, path: str, status: int, seconds: float) -> None:
        """Add a request; `path` is the path of the route, so that visitors cannot invent labels."""
        self._requests[path, status] += 1
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self, totals: Mapping[str, tuple[str, int]], gauges: Mapping[str, tuple[str, int]]) -> str:
        """Return everything in Prometheus' text format.

        Args:
            totals, gauges: further metrics by name, each with its meaning and its value.
        """
        lines = _head("kilnet_requests_total", "counter", "HTTP requests by path and status.")
        for (path, status), number in sorted(self._requests.items()):
            lines.append(f'kilnet_requests_total{{path="{path}",status="{status}"}} {number}')
        lines += _head("kilnet_request_seconds", "histogram", "Time from a request's head to its answer.")
        below = 0
        for bound, number in zip((*map(str, _BUCKETS), "+Inf"), self._buckets, strict=True):
            below += number
            lines.append(f'kilnet_request_seconds_bucket{{le="{bound}"}} {below}')
        lines += [f"kilnet_request_seconds_sum {self._seconds:.6f}", f"kilnet_request_seconds_count {below}"]
        for kind, metrics in (("counter", totals), ("gauge", gauges)):
            for name, (meaning, value) in metrics.items():
                lines += [*_head(name, kind, meaning), f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


class Guard:
    """Refuses foreign hosts and origins before anything else runs, counts requests, and adds headers to every answer.

    Args:
        app: the application that it guards.
        names: host names of this server, apart from addresses and `localhost`.
        counters: count every request.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str], counters: RequestCounters) -> None:
        self._app, self._names, self._counters = app, names, counters
        self._num_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = monotonic(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, own = message["status"], list(message.get("headers", []))
                named = {name for name, _ in own}  # an answer may have a policy of its own
                others = [header for header in _ENCODED_HEADERS if header[0] not in named]
                message = {**message, "headers": [*own, *others]}
            await send(message)

        async def noted_receive() -> Message:
            message = await receive()
            scope[BODY_IS_READ] = not message.get("more_body", False)
            return message

        self._num_requests += 1
        try:
            answer = self._refusal(scope) or self._app
            await answer(scope, noted_receive, send_with_headers)
        finally:
            self._num_requests -= 1
            path = getattr(scope.get("route"), "path", "other")
            self._counters.count(path, status, monotonic() - start)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = {name: [v.decode("latin-1") for n, v in scope["headers"] if n == name] for name in _READ}
        host = headers[b"host"]
        if len(host) != 1 or not is_own(host[0], self._names):
            reason = "this server has another name; use its address, or start it with this name as its host"
            return Refusal(421, reason)
        origins = {origin.partition("://")[2].lower() for origin in headers[b"origin"]}  # "null" becomes ""
        foreign = set(headers[b"sec-fetch-site"]) - {"same-origin", "none"}
        if origins - {host[0].lower()} or (foreign and scope["path"].startswith("/api/")):
            return Refusal(403, "requests from other sites' pages are refused")
        if self._num_requests > _MAX_REQUESTS:
            return Refusal(503, "too many requests at once; try again")
        return None


def own_names(host: str) -> frozenset[str]:
    """Return the names of a server that listens at `host`, apart from addresses and `localhost`."""
    return frozenset({host.lower()} | (set() if is_loopback(host) else {socket.gethostname().lower()}))


def is_own(authority: str, names: frozenset[str]) -> bool:
    """Return whether a `Host` header names this server: an address, `localhost`, or one of `names`, with any port.

    Any port, because of tunnels. Any address, because an address cannot be rebound: what a browser loads from it comes
    from this machine.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    name = match["name"].lower().strip("[]")
    return name == "localhost" or name in names or _address(name) is not None


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach a server at `host`."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def exposure(host: str, deeds: str) -> str | None:
    """Return a warning where others can reach a server at `host`; None where only this machine can.

    Args:
        deeds: what they can do there.
    """
    if is_loopback(host):
        return None
    return f"listening at {host}: anyone who can reach this machine there can {deeds}, without encryption or a password"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
