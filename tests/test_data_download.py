import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from kilnet.data import download
from kilnet.data.download import fetch
from kilnet.errors import DownloadError, StorageError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
WRONG = bytes(len(CONTENT))


class Handler(BaseHTTPRequestHandler):
    """Misbehaves as its path says."""

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        match self.path:
            case "/good":
                self.answer(CONTENT, start)
            case "/without-ranges":
                self.answer(CONTENT, 0)
            case "/drops":
                self.answer(CONTENT, start, num_sent=400_000)
            case "/wrong":
                self.answer(WRONG, start)
            case "/short":
                self.answer(b"<html>please log in</html>", 0)
            case "/endless":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(CONTENT + b"more")
            case "/declared-compressed":
                self.answer(CONTENT, start, Content_Encoding="gzip")
            case "/elsewhere":
                self.redirect("http://example.org/good")
            case "/moved":
                self.redirect("/good")
            case "/circle":
                self.redirect("/circle")
            case "/hangs":
                time.sleep(2)
            case _:
                self.send_error(404)

    def answer(self, content: bytes, start: int, num_sent: int | None = None, **headers: str) -> None:
        self.send_response(206 if start else 200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][:num_sent])

    def redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file.bin"


def get(server: ThreadingHTTPServer, target: Path, *paths: str, **options: object) -> Path:
    mirrors = [f"http://127.0.0.1:{server.server_port}/{path}" for path in paths]
    return fetch(mirrors, target, MD5, len(CONTENT), **options)


def part_of(target: Path) -> Path:
    return target.with_name("file.bin.part")


def test_fetches_once(server, target):
    told = []
    assert get(server, target, "good", progress=lambda *args: told.append(args)) == target
    assert target.read_bytes() == CONTENT
    assert told[-1] == ("download", len(CONTENT), len(CONTENT))
    assert not part_of(target).exists()
    get(server, target, "good")
    assert len(server.requests) == 1


def test_interrupted_download_goes_on_where_it_broke_off(server, target):
    with pytest.raises(DownloadError, match=r"broke after \d+ of 1000000 bytes, kept.*`data.dir`"):
        get(server, target, "drops")
    assert not target.exists()
    kept = part_of(target).read_bytes()
    assert 300_000 < len(kept) <= 400_000
    assert kept == CONTENT[: len(kept)]
    get(server, target, "good")
    assert server.requests[-1] == ("/good", f"bytes={len(kept)}-")
    assert target.read_bytes() == CONTENT


def test_next_mirror_goes_on_where_the_last_broke_off(server, target, capfd):
    get(server, target, "drops", "good")
    (_, first), (_, second) = server.requests
    assert first is None
    assert int(second.removeprefix("bytes=").removesuffix("-")) > 300_000
    assert capfd.readouterr() == ("", "")  # telling is the business of `progress`
    assert target.read_bytes() == CONTENT


def test_server_without_ranges_starts_over(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(b"something else")
    get(server, target, "without-ranges")
    assert target.read_bytes() == CONTENT


def test_whole_part_of_a_killed_process_is_only_checked(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    get(server, target, "good")
    assert server.requests == []
    assert target.read_bytes() == CONTENT


def test_wrong_content_is_deleted_and_the_next_mirror_tried(server, target):
    get(server, target, "wrong", "good")
    assert target.read_bytes() == CONTENT


def test_damaged_file_in_the_cache_is_fetched_anew(server, target):
    target.parent.mkdir()
    target.write_bytes(WRONG)
    get(server, target, "good")
    assert target.read_bytes() == CONTENT


def test_archive_that_the_server_declares_compressed_is_kept_as_it_is(server, target):
    assert get(server, target, "declared-compressed").read_bytes() == CONTENT


def test_redirect_on_the_same_machine_is_followed(server, target):
    assert get(server, target, "moved").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "what_happened"),
    [
        ("wrong", r"wrong content \(MD5 differs\), deleted"),
        ("short", "offers 26 bytes instead of 1000000"),
        ("endless", "does not say how long the file is"),
        ("elsewhere", "leads to http://example.org, which is not https; refused"),
        ("circle", "HTTP 302"),
        ("missing", "HTTP 404"),
        ("hangs", "timed out"),
    ],
)
def test_failure_is_one_line_and_leaves_nothing(server, target, monkeypatch, path, what_happened):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", (1, 0.3))
    with pytest.raises(DownloadError, match=f"127.0.0.1: {what_happened}.*`data.dir`") as caught:
        get(server, target, path)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    assert not part_of(target).exists()


def test_every_mirror_is_named(server, target):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1: HTTP 404.*; 127\.0\.0\.1: offers 26 bytes"):
        get(server, target, "missing", "short")


def test_no_server_is_a_failed_connection(server, target):
    with pytest.raises(DownloadError, match=r"localhost: connection failed"):
        fetch(["http://localhost:1/file.bin"], target, MD5, len(CONTENT))


@pytest.mark.parametrize(
    "url", ["http://example.org/file.bin", "ftp://example.org/file.bin", "file:///etc/passwd"]
)
def test_only_https_leaves_this_machine(target, url):
    with pytest.raises(DownloadError, match="not https; refused"):
        fetch([url], target, MD5, len(CONTENT))


def test_two_at_once_fetch_once(server, target):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, server, target, "good") for _ in range(2)]
        assert all(future.result() == target for future in both)
    assert len(server.requests) == 1


def test_cache_that_cannot_be_written_is_a_storage_error(server, tmp_path):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*KILNET_CACHE"):
        get(server, tmp_path / "a_file" / "file.bin", "good")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_a_storage_error(server, target):
    target.parent.mkdir()
    os.symlink("/dev/full", part_of(target))  # noqa: PTH211
    with pytest.raises(StorageError, match="No space left"):
        get(server, target, "good")
