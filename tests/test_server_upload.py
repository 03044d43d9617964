"""Pictures that are sent: which are taken, and what the others cost."""

import re
import struct
import time

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.server import decoding, upload
from sent_pictures import OCTETS, png, png_bomb


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
    question = (3, 8, 8), False
    bomb, bigger = png_bomb(8000), png_bomb(20000)
    assert len(bigger) < 200_000
    webp = b"RIFF\x1a\0\0\0WEBPVP8X\n\0\0\0" + bytes(4) + b"\xff\xff\0" * 2
    monkeypatch.setattr("kilnet.server.decoding.to_input", lambda *_: pytest.fail("it was decoded"))
    for content in (bomb, bigger, webp):
        assert decoding._answer(content, *question) == (413, b"more than 50 million pixels")
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
    assert decoding._answer(tiff(40_000), (3, 8, 8), False)[0] == decoding.DECODED
    assert client.post("/api/predict", content=tiff(40_000), headers=OCTETS).status_code == 200
    assert time.process_time() - start < 2


def test_memory_of_pictures_being_sent_is_bounded(client, monkeypatch):
    monkeypatch.setattr(upload, "_MAX_BYTES_HELD", 50)
    answer = client.post("/api/predict", content=bytes(60), headers=OCTETS)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    monkeypatch.undo()
    picture = png(np.zeros((5, 5), np.uint8))
    assert client.post("/api/predict", content=picture, headers=OCTETS).status_code == 200
