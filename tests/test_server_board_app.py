"""Who may ask the board, and what a deletion has to bring."""

import json
import re

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.server.board_app import make_board_app
from kilnet.verbs.board import Board
from listed_runs import make_run

PATHS = [
    "/",
    "/search?run=x",
    "/report?run=x",
    "/api/runs",
    "/api/curves",
    "/api/comparison",
    "/api/search?run=x",
]


@pytest.fixture
def folder(tmp_path):
    make_run(tmp_path / "a")
    return tmp_path


@pytest.fixture
def client(folder):
    testclient = pytest.importorskip("starlette.testclient", reason="the extra `serve` is not installed")
    return testclient.TestClient(make_board_app(Board(folder)), base_url="http://localhost")


@pytest.fixture
def token(client):
    return json.loads(re.search(r'id="data-runs">(.*?)<', client.get("/").text)[1])["token"]


@pytest.mark.parametrize("path", PATHS)
def test_foreign_hosts_and_pages_are_refused_as_serve_refuses_them(client, path):
    assert client.get(path, headers={"host": "evil.example"}).status_code == 421
    assert client.get(path, headers={"origin": "http://evil.example"}).status_code == 403
    if path.startswith("/api/"):
        assert client.get(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("path", [*PATHS, "/none"])
def test_every_answer_has_one_policy_and_is_not_kept(client, path):
    answer = client.get(path)
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_only_the_page_itself_may_delete(client, folder, token):
    ((run, _),) = client.get("/api/runs").json()["rows"]
    ask = {"run": run}
    assert client.get("/api/delete").status_code == 404
    assert client.post("/api/delete", json=ask).status_code == 403
    assert client.post("/api/delete", json=ask, headers={"x-kilnet-token": "guess"}).status_code == 403
    right = {"x-kilnet-token": token}
    assert client.post("/api/delete", json=ask, headers={**right, "origin": "null"}).status_code == 403
    assert client.post("/api/delete", content=b"x" * 9999, headers=right).status_code == 413
    assert client.post("/api/delete", content=b"[]", headers=right).status_code == 400
    assert client.post("/api/delete", json={"run": "../a"}, headers=right).status_code == 400
    assert (folder / "a").is_dir()
    assert client.post("/api/delete", json=ask, headers=right).json() == {"deleted": run}
    assert not (folder / "a").exists()


def test_mistakes_are_one_line(client):
    answer = client.get("/api/runs", params={"where": "lr"})
    assert answer.status_code == 200, "somebody is still typing"
    assert "write a condition as" in answer.json()["problem"]
    assert client.get("/api/curves", params={"of": "nothing"}).status_code == 400


def test_a_report_of_anybody_runs_apart_from_the_board(client, folder):
    (folder / "a" / "report.html").write_text("<script>fetch('/api/delete')</script>")
    ((run, _),) = client.get("/api/runs").json()["rows"]
    policy = client.get("/report", params={"run": run}).headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "connect-src" not in policy
    assert "allow-same-origin" not in policy
