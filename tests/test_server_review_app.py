"""The application of `kilnet review`, without a socket: who is refused, and what is answered."""

import re

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.data.answer_table import AnswerTable
from kilnet.data.corrections import read_corrections
from kilnet.inspection.review_queue import Shown
from kilnet.server.review_app import make_review_app
from kilnet.server.review_pictures import ReviewPictures
from kilnet.server.review_session import ReviewSession
from made_up_review import CLASSES, images, item
from sent_pictures import png
from test_server_guard import FOREIGN_HOSTS

PATHS = ["/", "/review.js", "/api/review", "/api/pictures/0/own"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c.csv"


@pytest.fixture
def client(path):
    twin = Shown(split="train", place=2, name="twin.png", label="frog")
    items = [item("<img src=x>\udcff.png", twin=twin), item("b.png", suspicion=0.3, place=1)]
    more = [item("t.png", split="validation", place=3)]
    session = ReviewSession(CLASSES, items, AnswerTable(path), more=lambda: more)
    pictures = ReviewPictures({"train": images(), "validation": images()}, None)
    facts = {"name": "run <i>", "kind": "labels", "next": "kilnet train x"}
    app = make_review_app(session, pictures, facts, frozenset({"pictures.example"}))
    testclient = pytest.importorskip("starlette.testclient", reason="the extra `serve` is not installed")
    with testclient.TestClient(app, base_url="http://localhost:8000") as client:
        yield client


def test_the_review_and_its_pictures(client):
    review = client.get("/api/review").json()
    assert (review["name"], review["order"], review["has_test"]) == ("run <i>", [0, 1], True)
    first = review["items"][0]
    assert (first["name"], first["label"], first["twin"]["label"]) == ("<img src=x>\udcff.png", "cat", "frog")
    assert first["said"][0] == {"class": "dog <b>", "probability": 0.7}
    for where, place in (("0/own", 0), ("0/twin", 2), ("1/own", 1)):
        answer = client.get(f"/api/pictures/{where}")
        assert answer.headers["content-type"] == "image/png"
        assert answer.content == png(images()[place].transpose(1, 2, 0)) or len(answer.content) > 60
    assert client.get("/api/pictures/1/twin").status_code == 404
    assert client.get("/api/pictures/2/own").status_code == 404


def test_answers_are_kept_and_taken_back(client, path):
    given = {"number": 0, "verdict": "wrong", "correction": "frog"}
    assert client.post("/api/answers", json=given).json() == {
        "answer": {"verdict": "wrong", "correction": "frog"}
    }
    assert read_corrections(path).rows["<img src=x>\udcff.png"].correction == "frog"
    assert client.get("/api/review").json()["items"][0]["answer"]["correction"] == "frog"
    assert client.post("/api/undo", json={}).json() == {"number": 0}
    assert read_corrections(path).rows == {}


def test_a_table_that_somebody_broke_is_said(client, path):
    path.write_text("broken\n")
    answer = client.post("/api/answers", json={"number": 0, "verdict": "unsure"})
    assert answer.status_code == 409
    assert "no table of corrections" in answer.json()["detail"]


def test_the_test_split_needs_a_click_that_was_understood(client):
    assert client.post("/api/test", json={}).status_code == 422
    assert client.post("/api/test", json={"understood": False}).status_code == 422
    assert len(client.get("/api/review").json()["items"]) == 2
    assert client.post("/api/test", json={"understood": True}).status_code == 200
    review = client.get("/api/review").json()
    assert (len(review["items"]), review["has_test"]) == (3, False)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
        (b"nothing", "application/json", 422),
        (b'{"number": 0, "verdict": "right", "more": 1}', "application/json", 422),
        (b'{"number": 0, "verdict": "perhaps"}', "application/json", 422),
        (b"[" * 10_000, "application/json", 422),
        (b" " * 20_000, "application/json", 413),
        (b'{"number": 9, "verdict": "right"}', "application/json", 409),
    ],
)
def test_what_the_page_does_not_send_is_refused(client, path, content, media_type, status):
    headers = {} if media_type is None else {"content-type": media_type}
    assert client.post("/api/answers", content=content, headers=headers).status_code == status
    assert not path.exists()


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_hosts_are_refused(client, path, host):
    for place in PATHS:
        assert client.get(place, headers={"host": host}).status_code == 421
    given = {"number": 0, "verdict": "right"}
    assert client.post("/api/answers", json=given, headers={"host": host}).status_code == 421
    assert not path.exists()


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:9999", "http://127.0.0.1:8000"]
)
def test_foreign_origins_are_refused(client, path, origin):
    given = {"number": 0, "verdict": "right"}
    for headers in ({"origin": origin}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        for where in ("/api/answers", "/api/undo", "/api/test"):
            assert client.post(where, json=given, headers=headers).status_code == 403
        assert client.get("/api/pictures/0/own", headers=headers).status_code == 403
        assert client.get("/api/review", headers=headers).status_code == 403
    preflight = {"origin": origin, "access-control-request-method": "POST"}
    assert client.options("/api/answers", headers=preflight).status_code == 403
    assert not path.exists()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "pictures.example:8000"])
def test_own_hosts_are_served(client, host):
    own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert client.post("/api/answers", json={"number": 0, "verdict": "right"}, headers=own).status_code == 200


def test_every_answer_has_the_browsers_rules(client):
    for answer in [client.get(path) for path in (*PATHS, "/nowhere", "/api/pictures/77/own")]:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path_asked",
    ["/../c.csv", "/%2e%2e/%2e%2e/etc/passwd", "/api/pictures/..%2f..%2fc.csv/own", "/api/pictures/0/..%2fx", "/c.csv",
     "/app.py", "/docs", "/openapi.json"],
)  # fmt: skip
def test_no_path_leads_to_a_file(client, path_asked):
    assert client.get("http://localhost:8000" + path_asked).status_code in (404, 422)


def test_the_page_asks_for_nothing_from_elsewhere(client):
    for place in ("/", "/page.css", "/review.css", "/review.js"):
        answer = client.get(place)
        assert answer.status_code == 200
        assert not re.search(r"(https?:)?//[a-z]", answer.text)
    assert not re.search(r"<script>|\son\w+=|style=", client.get("/").text)
    assert "innerHTML" not in client.get("/review.js").text
