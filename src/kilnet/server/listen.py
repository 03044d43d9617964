"""The socket, and clients who take their time."""

import asyncio
import errno
import os
import socket
import warnings
from collections.abc import Callable

import uvicorn
from PIL import Image
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from kilnet.errors import InputError, PortError

_HEAD_SECONDS = 10.0
_MAX_CONNECTIONS = 200


class PromptHttp(H11Protocol):
    """HTTP/1.1 that hangs up when a request's head is not whole, or an answer not fetched, within 10 seconds.

    A connection may otherwise be held for ever by a byte now and then; uvicorn's own timer stops at the first one.
    The body's time is the application's matter.
    """

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop to count once the head is whole."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to count anew."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to count."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._hang_up is None:
            self._hang_up = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address, so that a port in use is known before anything is loaded.

    Args:
        host: name or address.
        port: 0 takes a free one.

    Raises:
        PortError: the port is taken, or not for this user.
        InputError: `host` is not an address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"--host {host}: {error.strerror or error}") from None
    try:
        if os.name == "posix":  # elsewhere it lets two servers share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)  # here and not later: two sockets may be bound to one port, but not listen there
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError(f"--host {host}: not an address of this machine") from None
        if error.errno == errno.EADDRINUSE:
            raise PortError(
                f"port {port} is in use; choose another with --port, 0 takes a free one"
            ) from None
        raise PortError(f"port {port}: {error.strerror}; choose another with --port") from None
    return bound


def url_of(bound: socket.socket, host: str) -> str:
    """Return where a browser on this machine finds the server."""
    port = bound.getsockname()[1]
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 compared, not bound
        host = "127.0.0.1" if bound.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run(app: ASGIApp, bound: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests until the process is interrupted, then let those in progress end.

    Raises:
        KeyboardInterrupt: Ctrl-C, once the server has ended.
    """
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is refused; the log need not know
    config = uvicorn.Config(
        app,
        http=PromptHttp,
        ws="none",
        loop="asyncio",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=2**14,
    )
    started()
    uvicorn.Server(config).run(sockets=[bound])
    raise KeyboardInterrupt  # where the process was started with SIGINT ignored, as by nohup, nobody else says so
