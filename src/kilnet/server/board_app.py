"""The board as an application: which request gets which answer, and what a deletion has to bring with it."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from kilnet.errors import BusyError, InputError, KilnetError
from kilnet.server.guard import Guard, Refusal, RequestCounters

TOKEN = "x-kilnet-token"  # noqa: S105 the name of a header
_MAX_BODY_BYTES = 4096
# Of pages that Kilnet makes now: their own policy, by digests, is narrower still.
_OWN_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of a report, a file that anybody may have written: its scripts have an origin of their own, and can ask nobody.
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Board(Protocol):
    """What the application asks; all of it may take a while, and runs in threads."""

    def page(self, token: str) -> str:
        """Return the page."""

    def runs(self, where: str, sort: str, reverse: bool, seen: str) -> dict[str, Any]:
        """Return the table of runs, or only its version where that is the one seen."""

    def curves(self, ids: list[str], measure: str) -> str:
        """Return the curves of some runs as HTML."""

    def comparison(self, ids: list[str]) -> str:
        """Return the comparison of some runs as HTML."""

    def search_page(self, run: str) -> str:
        """Return the page of a search, which follows it."""

    def search_sections(self, run: str, seen: str) -> dict[str, Any]:
        """Return the sections of a search's page, or only their version where that is the one seen."""

    def report(self, run: str) -> str:
        """Return a report that was made before."""

    def delete(self, run: str) -> None:
        """Delete a run."""


def make_board_app(board: Board, names: frozenset[str] = frozenset()) -> ASGIApp:
    """Return the board as an ASGI application.

    Args:
        board: what it shows.
        names: the host names of the server; see `Guard`.
    """
    token = secrets.token_urlsafe()

    async def page(_: Request) -> Response:
        return _html(await _called(board.page, token), _OWN_POLICY)

    async def runs(request: Request) -> Response:
        asked = request.query_params
        words = [asked.get(name, "") for name in ("where", "sort")]
        try:
            found = await _called(board.runs, *words, "reverse" in asked, asked.get("seen", ""))
        except InputError as error:  # no refusal: somebody is still typing a condition
            found = {"problem": str(error)}
        return JSONResponse(found)

    async def curves(request: Request) -> Response:
        asked = request.query_params
        return JSONResponse({"html": await _called(board.curves, asked.getlist("run"), asked.get("of", ""))})

    async def comparison(request: Request) -> Response:
        return JSONResponse({"html": await _called(board.comparison, request.query_params.getlist("run"))})

    async def search(request: Request) -> Response:
        return _html(await _called(board.search_page, request.query_params.get("run", "")), _OWN_POLICY)

    async def sections(request: Request) -> Response:
        asked = request.query_params
        return JSONResponse(await _called(board.search_sections, asked.get("run", ""), asked.get("seen", "")))

    async def report(request: Request) -> Response:
        return _html(await _called(board.report, request.query_params.get("run", "")), _REPORT_POLICY)

    async def delete(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get(TOKEN, "").encode(), token.encode()):
            return Refusal(403, "only the board's own page may delete; load it again")
        if int(request.headers.get("content-length") or _MAX_BODY_BYTES + 1) > _MAX_BODY_BYTES:
            return Refusal(413, "that is no request to delete a run")
        try:
            run = (await request.json())["run"]
        except (ValueError, KeyError, TypeError):
            return Refusal(400, "say which run")
        await _called(board.delete, str(run))
        return JSONResponse({"deleted": run})

    routes: list[tuple[str, Callable[[Request], Awaitable[Response]], str]] = [
        ("/", page, "GET"),
        ("/search", search, "GET"),
        ("/report", report, "GET"),
        ("/api/runs", runs, "GET"),
        ("/api/curves", curves, "GET"),
        ("/api/comparison", comparison, "GET"),
        ("/api/search", sections, "GET"),
        ("/api/delete", delete, "POST"),
    ]
    app = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in routes],
        exception_handlers={KilnetError: _problem, 404: _no_page, 405: _no_page},
    )
    return Guard(app, names, RequestCounters())


async def _called(function: Callable[..., Any], *words: Any) -> Any:
    return await anyio.to_thread.run_sync(function, *words)


def _html(content: str, policy: str) -> Response:
    return HTMLResponse(
        content.encode(errors="backslashreplace"), headers={"content-security-policy": policy}
    )


async def _problem(_: Request, error: Exception) -> Response:
    status = 409 if isinstance(error, BusyError) else 400 if isinstance(error, InputError) else 500
    return JSONResponse({"detail": str(error)}, status)


async def _no_page(_: Request, __: Exception) -> Response:
    return JSONResponse({"detail": "no such page"}, 404)
