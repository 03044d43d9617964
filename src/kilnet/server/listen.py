"""The socket, and a limit on slow clients."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from kilnet.errors import InputError, PortError, WorkerError
from kilnet.server.guard import raw_refusal

_HEAD_SECONDS = 10.0
_MAX_CONNECTIONS = 500  # half of the files that a process may usually have open
_GRACE_SECONDS = 1  # for requests in progress when the server is stopped


class PromptHttp(H11Protocol):
    """HTTP/1.1 that closes a connection when the client needs over 10 seconds to send a head or to fetch an answer.

    Otherwise a client could hold a connection for ever by sending a byte now and then: uvicorn's own timer stops at
    the first byte. The application limits the time for the body.
    """

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MAX_CONNECTIONS:
            self._refuse(503, "too many connections; try again")
        self._watch()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _refuse(self, status: int, reason: str) -> None:
        # uvicorn's own answers lack the headers that all others have.
        self.transport.write(raw_refusal(status, reason))
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
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


class _QuietServer(uvicorn.Server):
    """A server that does not write why it did not start, or which requests its end cuts off."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        log = logging.getLogger("uvicorn.error")
        log.setLevel(logging.CRITICAL + 1)
        await super().startup(sockets)
        log.setLevel(logging.ERROR)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a port in use is noticed before anything is loaded.

    Args:
        host: name or address.
        port: 0 takes a free one.

    Raises:
        PortError: the port is in use, or this user may not listen there.
        InputError: `host` is not an address of this machine, or `port` none that there can be.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"`port={port}`: ports are 0 to 65535")
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = known[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"`host={host!r}`: {error.strerror or error}") from None
    try:
        if os.name == "posix":  # on Windows this option would let two servers share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)  # now: two sockets can be bound to one port, but only one can listen
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError(f"`host={host!r}`: not an address of this machine") from None
        if error.errno == errno.EADDRINUSE:
            raise PortError(f"port {port} is in use; give another `port`, or 0 for a free one") from None
        raise PortError(f"port {port}: {error.strerror}; give another `port`") from None
    return bound


def url_of(bound: socket.socket, host: str) -> str:
    """Return the URL of the server for a browser on this machine."""
    port = bound.getsockname()[1]
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 compared, not bound
        host = "127.0.0.1" if bound.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run(app: ASGIApp, bound: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests until the process is interrupted; those in progress have a second to finish.

    Args:
        app: the application.
        bound: a listening socket; see `bind`.
        started: called once connections are accepted.

    Raises:
        WorkerError: a process that decodes pictures cannot be started.
        KeyboardInterrupt: the user pressed Ctrl-C, and the server has ended.
    """
    config = uvicorn.Config(
        app,
        http=PromptHttp,
        ws="none",
        loop="asyncio",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        h11_max_incomplete_event_size=2**14,
    )
    started()
    server = _QuietServer(config)
    server.run(sockets=[bound])
    if not server.started:
        raise WorkerError("the processes that decode pictures cannot be started")
    raise KeyboardInterrupt  # uvicorn itself raises nothing if the process was started with SIGINT ignored (nohup)
