"""The application of `kilnet serve`, without a socket; test_server_listen.py has what needs one."""

import asyncio
import base64
import io
import json
import re
import socket
import struct
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet import cli
from kilnet.data.decode import to_input
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import InputError
from kilnet.inspection.attribution import grad_cam

testclient = pytest.importorskip("starlette.testclient", reason="the extra `serve` is not installed")

from kilnet.server import app as serving  # noqa: E402
from kilnet.server import batching, guard, listen, upload  # noqa: E402
from kilnet.server.answers import Example, examples_of, is_at_hand  # noqa: E402
from kilnet.server.batching import Batcher, QueueFullError  # noqa: E402

RANDOM = np.random.default_rng(0)
OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def predictor(colour_run):
    return kilnet.load(colour_run)


@pytest.fixture(scope="module")
def client(predictor):
    examples = (Example("<img src=x>.png", "green", png(RANDOM.integers(0, 256, (9, 9, 3), np.uint8))),)
    app = serving.make_app(predictor, "run <i>", examples, frozenset({"pictures.example"}))
    with testclient.TestClient(app, base_url="http://localhost:8000") as client:
        yield client


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(side):
    """A PNG file of some hundred kB whose head and data are of side × side black pixels."""
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pixels_of(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


@pytest.mark.parametrize("media_type", ["application/octet-stream", "image/png", "IMAGE/JPEG; name=x"])
def test_an_answer_is_that_of_predict_and_of_grad_cam(client, predictor, media_type):
    pixels = RANDOM.integers(0, 256, (20, 31, 3), np.uint8)
    answer = client.post(
        "/api/predict?top=2&explain=true", content=png(pixels), headers={"content-type": media_type}
    ).json()
    expected = predictor(pixels)
    assert [entry["class"] for entry in answer["classes"]] == list(expected.classes[:2])
    np.testing.assert_allclose(
        [entry["probability"] for entry in answer["classes"]], expected.probabilities[:2], rtol=1e-5
    )
    assert answer["unsure"] == expected.unsure
    image = to_input(pixels, predictor.image_shape)
    np.testing.assert_array_equal(pixels_of(answer["explanation"]["seen"]), image.transpose(1, 2, 0))
    heat = grad_cam(predictor, image, expected.label)
    np.testing.assert_allclose(pixels_of(answer["explanation"]["heat"]), heat * 255, atol=0.6)


def test_an_explanation_is_given_where_it_is_asked_for(client):
    answer = client.post("/api/predict", content=png(np.zeros((4, 4), np.uint8)), headers=OCTETS).json()
    assert answer["explanation"] is None
    assert len(answer["classes"]) == 3
    assert sum(entry["probability"] for entry in answer["classes"]) == pytest.approx(1)


def test_the_run_and_its_examples(client, predictor, colour_run):
    run = client.get("/api/run").json()
    assert (run["name"], run["classes"]) == ("run <i>", list(predictor.classes))
    assert (run["channels"], run["height"], run["width"]) == predictor.image_shape
    assert run["sure_from"] == predictor.calibration.threshold
    assert client.get("/api/examples").json() == [{"number": 0, "name": "<img src=x>.png", "truth": "green"}]
    image = client.get("/api/examples/0")
    assert (image.status_code, image.headers["content-type"]) == (200, "image/png")
    assert client.get("/api/examples/1").status_code == 404


def test_examples_are_validation_images_of_all_classes():
    labels = np.array([2, 2, 2, 0, 1, 0, 2])
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((7, 3, 2, 2), np.uint8)
    split = kilnet.Split(images, labels, tuple("abcdefg"))
    other = kilnet.Split(images[:1], labels[:1], ("other",))
    chosen = examples_of(kilnet.ImageDataset("mine", ("x", "y", "z"), other, split, None))
    assert [(e.name, e.truth) for e in chosen] == [
        ("d", "x"), ("e", "y"), ("a", "z"), ("f", "x"), ("b", "z"), ("c", "z"), ("g", "z"),
    ]  # fmt: skip
    for example in chosen:
        assert np.all(np.asarray(Image.open(io.BytesIO(example.png))) == "abcdefg".index(example.name))


def test_examples_are_never_fetched(tmp_path, monkeypatch):
    config = kilnet.config.DataConfig(source="cifar10")
    assert not is_at_hand(config)
    monkeypatch.setenv("KILNET_DATA", str(tmp_path))
    assert is_at_hand(config)
    assert is_at_hand(kilnet.config.DataConfig(source="digits"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"GIF89a", "damaged|no image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "no image"),
        (b"%PDF-1.7 " * 100, "no image"),
        (png(np.zeros((50, 50, 3), np.uint8))[:-30], "damaged or cut short"),
    ],
)
def test_what_is_no_picture_is_415(client, content, reason):
    answer = client.post("/api/predict", content=content, headers=OCTETS)
    assert answer.status_code == 415
    assert re.search(reason, answer.json()["detail"])


@pytest.mark.parametrize(
    "media_type", ["", "text/html", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_other_media_types_are_415_unread(client, media_type):
    """Forms, which pages of other sites may send without asking, among them."""
    picture = png(np.zeros((5, 5), np.uint8))
    answer = client.post("/api/predict", content=picture, headers={"content-type": media_type})
    assert answer.status_code == 415


def test_too_many_bytes_are_413_declared_or_not(client, monkeypatch):
    monkeypatch.setattr(upload, "MAX_BYTES", 1000)
    declared = client.post("/api/predict", content=bytes(1001), headers=OCTETS)
    counted = client.post("/api/predict", content=(bytes(100) for _ in range(11)), headers=OCTETS)
    fits = client.post("/api/predict", content=bytes(1000), headers=OCTETS)
    assert [a.status_code for a in (declared, counted, fits)] == [413, 413, 415]


def test_bombs_are_413_before_a_pixel_is_decoded(client, monkeypatch):
    bomb, bigger = png_bomb(8000), png_bomb(20000)
    assert len(bigger) < 200_000
    webp = b"RIFF\x1a\0\0\0WEBPVP8X\n\0\0\0" + bytes(4) + b"\xff\xff\0" * 2
    monkeypatch.setattr("kilnet.server.upload.to_input", lambda *_: pytest.fail("it was decoded"))
    for content in (bomb, bigger, webp):
        answer = client.post("/api/predict", content=content, headers=OCTETS)
        assert (answer.status_code, answer.json()["detail"]) == (413, "more than 50 million pixels")


def tiff(num_pages):
    """A TIFF file of so many pages of one pixel, which lie one after another."""
    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0)]
    tags += [(278, 3, 1, 1), (279, 4, 1, 1)]
    entries = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    size = len(entries) + 4
    starts = [*range(8 + size, 8 + num_pages * size, size), 0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(entries + struct.pack("<I", start) for start in starts)


def test_pages_nobody_asked_for_cost_nothing(client):
    """Going through these 40,000 pages in 4 MB takes 20 s."""
    start = time.process_time()
    assert client.post("/api/predict", content=tiff(40_000), headers=OCTETS).status_code == 200
    assert time.process_time() - start < 2


def test_memory_of_pictures_being_sent_is_bounded(client, monkeypatch):
    monkeypatch.setattr(upload, "_MAX_BYTES_HELD", 50)
    answer = client.post("/api/predict", content=bytes(60), headers=OCTETS)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    monkeypatch.undo()
    picture = png(np.zeros((5, 5), np.uint8))
    assert client.post("/api/predict", content=picture, headers=OCTETS).status_code == 200


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
    for path in ("/", "/page.css", "/page.js"):
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


def batched(work, num_requests):
    """Ask a batcher `num_requests` things at once; returns answers or errors."""

    async def ask_all():
        batcher = Batcher(work)
        running = asyncio.create_task(batcher.run())
        try:
            return await asyncio.gather(*map(batcher.ask, range(num_requests)), return_exceptions=True)
        finally:
            running.cancel()

    return asyncio.run(ask_all())


def test_requests_that_come_together_share_a_pass():
    batches = []

    def work(numbers):
        batches.append(len(numbers))
        return [number * 10 for number in numbers]

    assert batched(work, 50) == [number * 10 for number in range(50)]
    assert batches == [32, 18]


def test_a_failing_pass_fails_its_own_requests_alone():
    def work(numbers):
        if 0 in numbers:
            raise ValueError("broken")
        return numbers

    answers = batched(work, 40)
    assert [type(answer) for answer in answers[:32]] == [ValueError] * 32
    assert answers[32:] == list(range(32, 40))


def test_more_than_can_wait_is_refused(monkeypatch):
    monkeypatch.setattr(batching, "_MAX_WAITING", 5)
    answers = batched(lambda numbers: numbers, 8)
    assert answers[:5] == [0, 1, 2, 3, 4]
    assert [type(answer) for answer in answers[5:]] == [QueueFullError] * 3


def test_those_who_left_are_not_answered():
    seen, go = [], threading.Event()

    def work(numbers):
        seen.extend(numbers)
        go.wait(5)
        return numbers

    async def leave():
        batcher = Batcher(work)
        running = asyncio.create_task(batcher.run())
        first = asyncio.create_task(batcher.ask(1))
        await asyncio.sleep(0.05)
        left, stays = asyncio.create_task(batcher.ask(2)), asyncio.create_task(batcher.ask(3))
        await asyncio.sleep(0)
        left.cancel()
        go.set()
        assert (await first, await stays) == (1, 3)
        running.cancel()

    asyncio.run(leave())
    assert seen == [1, 3]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.8.8", True), ("0.0.0.0", False),  # noqa: S104
     ("::", False), ("192.168.0.3", False), ("box.local", False)],
)  # fmt: skip
def test_loopback_is_known(host, loopback):
    assert guard.is_loopback(host) == loopback


def test_a_network_without_convolution_answers_without_a_heat_map(tmp_path):
    import torch

    from kilnet.hardware import Settings
    from kilnet.inference.classifier import Classifier

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    settings = Settings("cpu", "fp32", "contiguous", 1)
    config = kilnet.config.ModelConfig(name="mine:flat")
    plain = Classifier(model, config, ("a", "b"), Preprocessing((0.5,) * 3, (0.2,) * 3, (4, 4)), settings)
    with testclient.TestClient(serving.make_app(plain, "flat", ()), base_url="http://localhost") as client:
        picture = png(RANDOM.integers(0, 256, (4, 4, 3), np.uint8))
        answer = client.post("/api/predict?explain=true", content=picture, headers=OCTETS).json()
        assert client.get("/api/run").json()["calibrated"] is False
    assert answer["unsure"] is None
    assert answer["explanation"]["heat"] is None
    assert pixels_of(answer["explanation"]["seen"]).shape == (4, 4, 3)


@pytest.fixture
def refusal(monkeypatch, capfd, colour_run):
    """Start the command line in this process with a mistake: exit code and what it says."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kilnet", "serve", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        out, err = capfd.readouterr()
        assert out == ""
        return done.value.code, err

    return call


def test_port_in_use_is_one_line(refusal, colour_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"kilnet: port {port} is in use; give another --port, or 0 for a free one\n"
        assert refusal(colour_run, "--port", port) == (1, message)


def test_what_cannot_be_served_is_one_line(refusal, colour_run, tmp_path, monkeypatch):
    code, err = refusal(colour_run, "--port", 70000)
    assert (code, err) == (2, "kilnet: --port 70000: ports are 0 to 65535\n")
    code, err = refusal(tmp_path / "none", "--port", 0)
    assert (code, err) == (2, f"kilnet: {tmp_path / 'none'}: no such run folder\n")
    for name in [name for name in sys.modules if name.startswith("kilnet.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, err = refusal(colour_run)
    assert (code, err.count("\n")) == (1, 1)
    assert "pip install 'kilnet[serve]'" in err


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_a_foreign_address_is_refused(host):
    with pytest.raises(InputError, match=rf"^`host='{host}'`: .+"):
        listen.bind(host, 0)


def test_a_free_port_is_bound_and_its_url_known():
    everywhere = "0.0.0.0"  # noqa: S104
    urls = {
        "127.0.0.1": "http://127.0.0.1:",
        "localhost": "http://localhost:",
        everywhere: "http://127.0.0.1:",
    }
    for host, start in urls.items():
        with listen.bind(host, 0) as bound:
            assert listen.url_of(bound, host) == f"{start}{bound.getsockname()[1]}/"
