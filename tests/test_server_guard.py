"""Who is refused before the application is asked, and what is counted."""

import asyncio
import re

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.server import guard
from sent_pictures import OCTETS, png

FOREIGN_HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:8000",
    "",
    "a@localhost",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/", "/api/run", "/api/examples/0", "/metrics", "/healthz"])
def test_foreign_hosts_are_refused(client, host, path):
    assert client.get(path, headers={"host": host}).status_code == 421
    assert client.post("/api/predict", content=b"", headers={**OCTETS, "host": host}).status_code == 421


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7", "pictures.example:8000"],
)
def test_own_hosts_are_served(client, host):
    assert client.get("/api/run", headers={"host": host}).status_code == 200
    own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert client.get("/api/run", headers=own).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:9999", "http://localhost", "http://127.0.0.1:8000"],
)
def test_foreign_origins_are_refused(client, origin):
    picture = png(np.zeros((5, 5), np.uint8))
    headers = {**OCTETS, "origin": origin}
    assert client.post("/api/predict", content=picture, headers=headers).status_code == 403
    for path in ("/api/examples/0", "/api/examples", "/api/run"):
        assert client.get(path, headers=headers).status_code == 403
    preflight = client.options(
        "/api/predict", headers={"origin": origin, "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 403
    assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_are_not_shown_on_other_sites(client, site):
    """An <img> of another page has no Origin; the browser says where it stands."""
    assert client.get("/api/examples/0", headers={"sec-fetch-site": site}).status_code == 403
    assert client.get("/api/examples/0", headers={"sec-fetch-site": "none"}).status_code == 200
    assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200, "a link may lead to the page"
    headers = client.get("/api/examples/0").headers
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_every_answer_has_the_browsers_rules(client):
    paths = ["/", "/page.js", "/api/run", "/nowhere", "/api/examples/77", "/metrics"]
    for answer in [client.get(path) for path in paths] + [client.get("/", headers={"host": "evil.example"})]:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def metrics(client):
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_and_can_be_parsed(client):
    before = metrics(client)
    client.post("/api/predict", content=png(np.zeros((5, 5), np.uint8)), headers=OCTETS)
    client.post("/api/predict", content=b"no picture", headers=OCTETS)
    client.get('/made-up"label%0A')
    after = metrics(client)

    def grown(name):
        return after[name] - before.get(name, 0)

    assert grown('kilnet_requests_total{path="/api/predict",status="200"}') == 1
    assert grown('kilnet_requests_total{path="/api/predict",status="415"}') == 1
    assert grown('kilnet_requests_total{path="other",status="404"}') == 1
    assert grown("kilnet_pictures_total") == grown("kilnet_batches_total") == 1
    assert grown("kilnet_request_seconds_count") == 4, "these three and the first call of the metrics"
    assert after['kilnet_request_seconds_bucket{le="+Inf"}'] == after["kilnet_request_seconds_count"]
    counts = [v for name, v in after.items() if name.startswith("kilnet_request_seconds_bucket")]
    assert counts == sorted(counts)
    text = client.get("/metrics").text
    assert all(
        re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"\n]*",?)+\})? [\d.e+-]+', line)
        for line in text.splitlines()
    )


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.8.8", True), ("0.0.0.0", False),  # noqa: S104
     ("::", False), ("192.168.0.3", False), ("box.local", False)],
)  # fmt: skip
def test_loopback_is_known(host, loopback):
    assert guard.is_loopback(host) == loopback


def test_more_requests_at_once_than_can_be_served_are_503(monkeypatch):
    monkeypatch.setattr(guard, "_MAX_REQUESTS", 2)
    statuses = []

    async def app(scope, receive, send):
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            assert b"content-security-policy" in dict(message["headers"])

    async def ask_all():
        guarded = guard.Guard(app, frozenset(), guard.RequestCounters())
        scope = {"type": "http", "path": "/", "headers": [(b"host", b"localhost")]}
        asked = [asyncio.create_task(guarded(dict(scope), receive, send)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert statuses == [503]
        go.set()
        await asyncio.gather(*asked)
        await guarded(dict(scope), receive, send)

    go = asyncio.Event()
    asyncio.run(ask_all())
    assert statuses == [503, 200, 200, 200]
