"""`kilnet serve` as a process: what only a real socket shows."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from kilnet.errors import InputError

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.server import listen
from odd_pictures import zeros_png

OCTETS = {"Content-Type": "application/octet-stream"}


def picture(seed=0):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def connected(served):
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    connection.settimeout(20)
    return connection


def received(connection):
    """Everything until the server hangs up."""
    content = b""
    try:
        while part := connection.recv(2**16):
            content += part
    except ConnectionResetError:
        pass
    return content


def head(served, *lines, length=None):
    lines = [*lines, *([] if length is None else [f"Content-Length: {length}"])]
    start = ["POST /api/predict HTTP/1.1", f"Host: 127.0.0.1:{served.port}", "Content-Type: image/png"]
    return "\r\n".join([*start, *lines, "", ""]).encode()


def is_alive(served):
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        connection.request("POST", "/api/predict", picture(), OCTETS)
        return connection.getresponse().status == 200


def test_declared_too_large_is_413_before_a_byte_of_it(served):
    with connected(served) as connection:
        connection.sendall(head(served, length=10**12))
        start = time.monotonic()
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert time.monotonic() - start < 5
    assert is_alive(served)


def test_whoever_asks_first_is_told_before_sending(served):
    with connected(served) as connection:
        connection.sendall(head(served, "Expect: 100-continue", length=10**9))
        assert received(connection).startswith(b"HTTP/1.1 413 "), "not 100 Continue"


def test_endless_chunks_are_413_and_cut_off(served):
    """Far less is taken than the sender has; where reading stops, sending fails."""
    with connected(served) as connection:
        connection.sendall(head(served, "Transfer-Encoding: chunked"))
        block = b"%x\r\n%s\r\n" % (2**20, bytes(2**20))
        num_sent = 0
        try:
            while num_sent < 400:
                connection.sendall(block)
                num_sent += 1
        except OSError:
            pass
        assert num_sent < 200, "20 MB are read, 64 MB thrown away; the rest fills buffers"
    assert is_alive(served)


def test_thousands_of_parts_are_refused_by_their_head(served):
    with connected(served) as connection:
        form = head(served, "Transfer-Encoding: chunked").replace(
            b"image/png", b"multipart/form-data; boundary=x"
        )
        connection.sendall(form)
        assert received(connection).startswith(b"HTTP/1.1 415 "), "before a single part has been sent"
    assert is_alive(served)


def test_a_little_too_large_is_told_to_clients_that_send_first_and_read_then(served):
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        connection.request("POST", "/api/predict", bytes(25 * 2**20), OCTETS)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)) == (413, {"detail": "more than 20 MB"})


def test_a_slow_head_is_hung_up_on(served):
    with connected(served) as connection:
        start = time.monotonic()
        connection.settimeout(0.2)
        open_still = True
        for byte in b"GET / HTTP/1.1\r\nX: " + 100 * b"a":
            try:
                connection.sendall(bytes([byte]))
                open_still = connection.recv(1) != b""
            except TimeoutError:
                continue
            except OSError:
                open_still = False
            if not open_still:
                break
    assert not open_still
    assert 1 < time.monotonic() - start < 10


def test_silence_is_hung_up_on_also_between_requests(served):
    for first in (b"", f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\nG".encode()):
        with connected(served) as connection:
            connection.sendall(first)
            start = time.monotonic()
            answer = received(connection)
        assert answer.count(b"HTTP/1.1 200 ") == bool(first)
        assert 1 < time.monotonic() - start < 10


def test_a_slow_body_is_408_and_others_are_served_meanwhile(served):
    with connected(served) as connection:
        connection.sendall(head(served, length=1000))
        start = time.monotonic()
        for _ in range(3):
            connection.sendall(b"x")
            time.sleep(0.3)
            assert is_alive(served)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 3 < time.monotonic() - start < 15


def test_a_hundred_idle_connections_keep_nobody_out(served):
    idle = [connected(served) for _ in range(100)]
    try:
        assert is_alive(served)
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: evil.example"], 421),
        (["Host: 127.0.0.1", "Host: 127.0.0.1"], 400),
        ([], 400),
        (["Host: 127.0.0.1", "Origin: http://evil.example"], 403),
        (["Host: 127.0.0.1", "Origin: null"], 403),
        (["Host: 127.0.0.1", "Origin: http://127.0.0.1"], 200),
    ],
)
def test_host_and_origin_on_the_wire(served, lines, status):
    content = picture()
    start = [
        "POST /api/predict HTTP/1.1",
        *lines,
        "Content-Type: image/png",
        f"Content-Length: {len(content)}",
    ]
    with connected(served) as connection:
        connection.sendall("\r\n".join([*start, "Connection: close", "", ""]).encode() + content)
        assert received(connection).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "target", ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/weights.safetensors", "//etc/passwd"]
)
def test_raw_paths_lead_nowhere(served, target):
    """As they are; HTTP clients tidy them up before sending."""
    with connected(served) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"root:" not in answer


@pytest.fixture
def command(colour_run):
    """Start the command line; everything is ended afterwards."""
    processes = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "kilnet", "serve", str(colour_run), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "KILNET_CACHE": str(colour_run.parent / "cache")},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_it_and_another_host_says_what_that_means(command):
    process = command("--host", "0.0.0.0", "--port", 0)  # noqa: S104
    url = process.stdout.readline().split()[0]
    port = int(url.rstrip("/").rpartition(":")[2])
    assert url == f"http://127.0.0.1:{port}/"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"ok"}'  # and the connection stays open
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("listening at 0.0.0.0: anyone who can reach this machine")
    assert err.splitlines()[1:] == ["kilnet: interrupted"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


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


def headers_of(answer):
    lines = answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")[1:]
    names = [line.partition(":")[0] for line in lines]
    assert len(set(names)) == len(names), "none twice"
    return dict(line.split(": ", 1) for line in lines)


def test_answers_without_the_application_have_the_browsers_rules_too(served):
    with connected(served) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        usual = headers_of(received(connection))
    rules = {name: usual[name] for name in usual if "-" in name and not name.startswith("content-l")}
    del rules["content-type"]
    assert {"content-security-policy", "x-frame-options", "x-content-type-options"} < set(rules)
    with connected(served) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert rules.items() <= headers_of(answer).items()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
    with ExitStack() as idle:
        for _ in range(600):
            idle.enter_context(connected(served))
        with connected(served) as connection:
            answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert rules.items() <= headers_of(answer).items()
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"detail": "too many connections; try again"}
    end = time.monotonic() + 10
    while not served_again(served):
        assert time.monotonic() < end


def served_again(served):
    try:
        return is_alive(served)
    except (OSError, http.client.HTTPException):
        return False


def test_six_large_pictures_keep_nobody_waiting(served):
    large = zeros_png(6000, 6000, 8, 6)
    connections = [connected(served) for _ in range(6)]
    try:
        for connection in connections:
            connection.sendall(head(served, "Connection: close", length=len(large)) + large)
        time.sleep(0.5)
        start = time.monotonic()
        for _ in range(5):
            assert is_alive(served)
        assert time.monotonic() - start < 2
    finally:
        for connection in connections:
            connection.close()


def children(pid):
    """The processes that a process has started (Linux, proc(5))."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_all_its_processes_in_the_middle_of_uploads_and_decoding(command, number):
    process = command("--port", 0)
    port = int(process.stdout.readline().split()[0].rstrip("/").rpartition(":")[2])
    served = SimpleNamespace(port=port)
    assert is_alive(served)
    started = children(process.pid)
    assert len(started) == min(4, os.cpu_count()) + 1
    large = zeros_png(6000, 6000, 8, 6)
    with connected(served) as sending, ExitStack() as stack:
        sending.sendall(head(served, length=1000) + b"x")
        for _ in range(3):
            connection = stack.enter_context(connected(served))
            connection.sendall(head(served, length=len(large)) + large)
        time.sleep(0.5)
        start = time.monotonic()
        process.send_signal(number)
        while any(Path(f"/proc/{child}").exists() for child in started):
            assert time.monotonic() - start < 3
            time.sleep(0.01)
        out, err = process.communicate(timeout=20)  # Python itself takes a while to end on a busy machine
    assert process.returncode == 130
    assert out == ""
    assert err.count("\n") <= 1, err
    assert "Traceback" not in err
