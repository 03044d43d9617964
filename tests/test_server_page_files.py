"""The files of a page: these and no others."""

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from fastapi import FastAPI
from starlette.testclient import TestClient

from kilnet.server.page_files import add_page_files


def test_a_path_has_its_file_and_others_have_none():
    app = FastAPI()
    add_page_files(app, {"/style.css": ("page.css", "text/css; charset=utf-8")})
    client = TestClient(app)
    answer = client.get("/style.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert ".card" in answer.text
    assert client.get("/page.css").status_code == 404
    assert "/style.css" not in client.get("/openapi.json").json()["paths"]
