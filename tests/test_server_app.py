"""The application of `kilnet serve`, without a socket; test_server_listen.py has what needs one."""

import json
import re

import pytest


def test_the_run_and_its_examples(client, predictor, colour_run):
    run = client.get("/api/run").json()
    assert (run["name"], run["classes"]) == ("run <i>", list(predictor.classes))
    assert (run["channels"], run["height"], run["width"]) == predictor.image_shape
    assert run["sure_from"] == predictor.calibration.threshold
    assert client.get("/api/examples").json() == [{"number": 0, "name": "<img src=x>.png", "truth": "green"}]
    image = client.get("/api/examples/0")
    assert (image.status_code, image.headers["content-type"]) == (200, "image/png")
    assert client.get("/api/examples/1").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fconfig.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%252e%252e%252fetc/passwd",
        "/page/..%5c..%5capp.py",
        "/..%c0%af..%c0%afetc/passwd",
        "/api/examples/..%2f..%2f..%2fetc%2fpasswd",
        "/api/examples/%2e%2e%2fweights.safetensors",
        "/api/examples/0%00.png",
        "//etc/passwd",
        "/file:///etc/passwd",
        "/page.css/../app.py",
        "/app.py",
        "/weights.safetensors",
    ],
)
def test_no_path_leads_to_a_file(client, path):
    answer = client.get("http://localhost:8000" + path)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/json"
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_the_page_asks_for_nothing_from_elsewhere(client):
    for path in ("/", "/page.css", "/page.js", "/camera.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert not re.search(r"(https?:)?//[a-z]", answer.text.replace("http://www.w3.org/", ""))
    assert not re.search(r"<script>|\son\w+=|style=", client.get("/").text)
    assert "innerHTML" not in client.get("/page.js").text


def test_the_document_names_every_answer(client):
    document = client.get("/api/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/run", "/api/examples", "/api/examples/{number}", "/api/predict", "/healthz", "/metrics",
    }  # fmt: skip
    predict = document["paths"]["/api/predict"]["post"]
    statuses = {"200", "400", "403", "408", "413", "415", "421", "422", "503"}
    assert set(predict["responses"]) == statuses
    assert set(predict["requestBody"]["content"]) == {"application/octet-stream", "image/*"}
    assert "http" not in json.dumps(document["paths"]).lower().replace("httpvalidationerror", "")
