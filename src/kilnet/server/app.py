"""The page and the API of one run, with its answers as the OpenAPI document describes them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from kilnet.inference.classifier import Classifier
from kilnet.server.answers import Answer, Example, Question, answer, base64_png
from kilnet.server.batching import Batcher, QueueFullError
from kilnet.server.decoders import Decoders
from kilnet.server.decoding import MAX_BYTES, MAX_PIXELS
from kilnet.server.guard import MEDIA_TYPE, Guard, Refusal, RefusedError, RequestCounters
from kilnet.server.page_files import add_page_files
from kilnet.server.upload import Uploads

_PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/camera.js": ("camera.js", "text/javascript; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


class ClassProbability(BaseModel):
    """A class and its calibrated probability."""

    name: str = Field(serialization_alias="class")
    probability: float = Field(ge=0, le=1)


class Explanation(BaseModel):
    """Where the network looked."""

    seen: str = Field(description="The picture as the network sees it: a PNG file in base64.")
    heat: str | None = Field(
        description="Grad-CAM for the first class, on the pixels of `seen`: a grey PNG file in base64; 255 is the "
        "largest value. Null if the network has no convolution."
    )


class PredictionAnswer(BaseModel):
    """What the network says about a picture."""

    classes: list[ClassProbability] = Field(description="The most probable first.")
    unsure: bool | None = Field(
        description="Whether a person should check it; null if the run is not calibrated."
    )
    unknown: bool | None = Field(
        description="Whether the picture is like none of the classes; null if the run keeps no limit for that."
    )
    explanation: Explanation | None


class RunAnswer(BaseModel):
    """The run that is served."""

    name: str
    classes: list[str]
    channels: int
    height: int
    width: int
    calibrated: bool = Field(description="Whether probabilities are calibrated on validation images.")
    sure_from: float | None = Field(description="Predictions with less confidence are unsure.")
    max_bytes: int = Field(description="A picture with more bytes is refused with status 413.")
    max_pixels: int = Field(description="A picture with more pixels is refused with status 413.")
    num_examples: int


class ExampleAnswer(BaseModel):
    """A validation image."""

    number: int
    name: str
    truth: str


class HealthAnswer(BaseModel):
    """The server is running."""

    status: str


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    reasons = {
        400: "The connection ended before the picture was complete.",
        403: "The request comes from a page of another site.",
        404: "There is no such example.",
        408: "The picture arrived too slowly.",
        413: "The picture has too many bytes or pixels, or decoding it would take too long or too much memory.",
        415: "The body is not a picture, or it is damaged.",
        421: "The `Host` header does not name this server.",
        503: "The server is busy; try again.",
    }
    return {status: {"model": Problem, "description": reasons[status]} for status in (403, 421, *statuses)}


def make_app(
    classifier: Classifier, name: str, examples: tuple[Example, ...], names: frozenset[str] = frozenset()
) -> ASGIApp:
    """Return a run as an ASGI application.

    Args:
        classifier: the run's network.
        name: the name of the run.
        examples: images that a visitor can click.
        names: the host names of the server; see `Guard`.
    """
    uploads, decoders, counters = Uploads(), Decoders(), RequestCounters()
    batcher: Batcher[Question, Answer]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal batcher
        batcher = Batcher(partial(answer, classifier), classifier.settings.apply)
        running = asyncio.create_task(batcher.run())
        try:
            await decoders.start()
            yield
        finally:
            running.cancel()
            await decoders.stop()

    app = FastAPI(
        title=f"Kilnet: {name}",
        description="Classifies pictures, with calibrated probabilities. Send one picture per request; requests that "
        "arrive together share a forward pass.",
        version=version("kilnet"),
        openapi_url="/api/openapi.json",
        docs_url=None,  # it loads scripts from another site
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.exception_handler(RefusedError)
    async def refuse(_: Request, error: RefusedError) -> Response:
        return Refusal(error.status, error.reason)

    @app.get("/api/run", responses=_refusals())
    async def run() -> RunAnswer:
        """Describe the run, and the limits of a request."""
        channels, height, width = classifier.image_shape
        calibration = classifier.calibration
        return RunAnswer(
            name=name,
            classes=list(classifier.classes),
            channels=channels,
            height=height,
            width=width,
            calibrated=calibration is not None,
            sure_from=None if calibration is None else calibration.threshold,
            max_bytes=MAX_BYTES,
            max_pixels=MAX_PIXELS,
            num_examples=len(examples),
        )

    @app.get("/api/examples", responses=_refusals())
    async def list_examples() -> list[ExampleAnswer]:
        """List validation images to try."""
        return [ExampleAnswer(number=i, name=one.name, truth=one.truth) for i, one in enumerate(examples)]

    @app.get(
        "/api/examples/{number}",
        response_class=Response,
        responses={200: {"content": {"image/png": _BINARY}}, **_refusals(404)},
    )
    async def example(number: Annotated[int, Path(ge=0)]) -> Response:
        """Return one of the validation images as a PNG file."""
        if number >= len(examples):
            raise RefusedError(404, f"there are {len(examples)} examples, numbered from 0")
        return Response(examples[number].png, media_type="image/png")

    @app.post(
        "/api/predict",
        responses=_refusals(400, 408, 413, 415, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "One picture file: JPEG, PNG, GIF, BMP, WebP, TIFF or PPM.",
                "content": {"application/octet-stream": _BINARY, "image/*": _BINARY},
            }
        },
    )
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=1000, description="How many classes to return.")] = 5,
        explain: Annotated[bool, Query(description="Whether to return where the network looked.")] = False,
    ) -> PredictionAnswer:
        """Classify the picture in the body."""
        async with uploads.picture(request) as content:
            fitting = classifier.preprocessing.fitting
            image = await decoders.decode(content, classifier.image_shape, fitting)
        try:
            found = await batcher.ask(Question(image, explain))
        except QueueFullError:
            raise RefusedError(503, "too many requests are waiting; try again") from None
        prediction = found.prediction
        ranked = zip(prediction.classes[:top], prediction.probabilities[:top], strict=True)
        heat = None if found.heat is None else base64_png((found.heat * 255).round().astype(np.uint8))
        return PredictionAnswer(
            classes=[ClassProbability(name=label, probability=value) for label, value in ranked],
            unsure=prediction.unsure,
            unknown=prediction.unknown,
            explanation=Explanation(seen=base64_png(image), heat=heat) if explain else None,
        )

    @app.get("/healthz", responses=_refusals())
    async def health() -> HealthAnswer:
        """Report that the server is running."""
        return HealthAnswer(status="ok")

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_refusals()},
    )
    async def metrics() -> Response:
        """Return counters for Prometheus."""
        totals = {
            "kilnet_pictures_total": ("Pictures classified.", batcher.num_answered),
            "kilnet_batches_total": ("Forward passes run.", batcher.num_batches),
        }
        gauges = {"kilnet_waiting_pictures": ("Pictures waiting for a forward pass.", batcher.num_waiting)}
        return Response(counters.text(totals, gauges), media_type=MEDIA_TYPE)

    add_page_files(app, _PAGE_FILES)
    return Guard(app, names, counters)
