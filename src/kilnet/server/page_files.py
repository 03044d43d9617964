"""The files that a page consists of."""

from collections.abc import Mapping
from functools import partial
from importlib.resources import files

from fastapi import FastAPI, Response

_ASSETS = files("kilnet.server") / "assets"


def add_page_files(app: FastAPI, page_files: Mapping[str, tuple[str, str]]) -> None:
    """Let an application answer with these files and no others: a request never chooses a path on disk.

    Args:
        page_files: the name in `assets/` and the media type, by the path of a request.
    """
    for path, (file, media_type) in page_files.items():
        page_file = partial(_page_file, (_ASSETS / file).read_bytes(), media_type)
        app.add_api_route(path, page_file, include_in_schema=False, response_class=Response)


async def _page_file(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type)
