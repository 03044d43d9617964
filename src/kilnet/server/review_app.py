"""The page of a review: items to look at, their pictures, and the answers of a person."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import ASGIApp

from kilnet.data.corrections import Verdict
from kilnet.errors import KilnetError
from kilnet.server.body import receive
from kilnet.server.guard import Guard, Refusal, RefusedError, RequestCounters
from kilnet.server.page_files import add_page_files
from kilnet.server.review_pictures import ReviewPictures
from kilnet.server.review_session import ReviewSession

_PAGE_FILES = {
    "/": ("review.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
}
_MAX_BYTES = 2**14  # of a request's body: a number and a name
_BODY_SECONDS = 10.0


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int
    verdict: Verdict
    correction: str | None = None


class _Understood(BaseModel):
    model_config = ConfigDict(extra="forbid")

    understood: Literal[True]


def make_review_app(
    session: ReviewSession,
    pictures: ReviewPictures,
    facts: dict[str, Any],
    names: frozenset[str] = frozenset(),
) -> ASGIApp:
    """Return a review as an ASGI application.

    Args:
        session: what is shown and answered.
        pictures: of its items.
        facts: that the page shows: the name of the run, the command that comes next, and so on.
        names: the host names of the server; see `Guard`.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    one_at_a_time = asyncio.Lock()

    @app.exception_handler(RefusedError)
    async def refuse(_: Request, error: RefusedError) -> Response:
        return Refusal(error.status, error.reason)

    @app.exception_handler(KilnetError)
    async def fail(_: Request, error: KilnetError) -> Response:
        return _json({"detail": str(error)}, 409)

    async def changed(change: Callable[[], Any]) -> Any:
        async with one_at_a_time:
            return await asyncio.to_thread(change)

    @app.get("/api/review")
    async def review() -> Response:
        told = await changed(session.told)
        return _json(
            {
                **facts,
                "classes": session.classes,
                "order": session.order(),
                "items": [_described(session, number, told) for number in range(len(session.items))],
                "has_test": session.has_more,
                "file": str(session.table.path),
            }
        )

    @app.get("/api/pictures/{number}/{which}")
    async def picture(number: Annotated[int, Path(ge=0)], which: Literal["own", "twin"]) -> Response:
        if number >= len(session.items):
            raise RefusedError(404, f"there are {len(session.items)} pictures, numbered from 0")
        item = session.items[number]
        shown = item.image if which == "own" else item.twin
        if shown is None:
            raise RefusedError(404, "no other picture shows nearly the same")
        content, media_type = await asyncio.to_thread(pictures.content, shown)
        return Response(content, media_type=media_type)

    @app.post("/api/answers")
    async def answer(request: Request) -> Response:
        given = await _read(request, _Answer)
        await changed(partial(session.answer, given.number, given.verdict, given.correction))
        told = (await changed(session.told)).get(given.number)
        return _json({"answer": None if told is None else vars(told)})

    @app.post("/api/undo")
    async def undo(request: Request) -> Response:
        await _read(request, None)
        return _json({"number": await changed(session.undo)})

    @app.post("/api/test")
    async def show_test(request: Request) -> Response:
        await _read(request, _Understood)
        await changed(session.show_more)
        return _json({})

    add_page_files(app, _PAGE_FILES)
    return Guard(app, names, RequestCounters())


def _json(content: Any, status: int = 200) -> Response:
    """Return JSON in ASCII: names of files may hold what is no text."""
    return Response(json.dumps(content), status, media_type="application/json")


def _described(session: ReviewSession, number: int, told: dict[int, Any]) -> dict[str, Any]:
    item = session.items[number]
    answer = told.get(number)
    return {
        "name": item.image.name,
        "split": item.image.split,
        "label": item.image.label,
        "said": [{"class": name, "probability": probability} for name, probability in item.said],
        "reasons": item.reasons,
        "twin": None if item.twin is None else {"name": item.twin.name, "label": item.twin.label},
        "answer": None if answer is None else vars(answer),
    }


async def _read(request: Request, model: type[Any] | None) -> Any:
    """Return the JSON in the body of a request, which a page of another site cannot send without being asked first.

    Raises:
        RefusedError: it is something else, too large, or arrives too slowly.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "send JSON")
    content = bytearray()

    def take(chunk: bytes) -> None:
        content.extend(chunk)
        if len(content) > _MAX_BYTES:
            raise RefusedError(413, f"more than {_MAX_BYTES // 1024} kB")

    await receive(request, take, _BODY_SECONDS, "request")
    try:
        parsed = json.loads(content)
        return None if model is None else model.model_validate(parsed)
    except (ValueError, ValidationError, RecursionError):
        raise RefusedError(422, "not what the page sends") from None
