"""The program of a decoding process, without the server around it."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from kilnet.data.decode import to_input
from kilnet.server import decoding
from odd_pictures import bmp_file, noise, zeros_png
from sent_pictures import png

SHAPE = (3, 8, 8)
PICTURE = png(noise(9, 12, 3))


def test_a_small_picture_is_decoded():
    kind, answer = decoding._answer(PICTURE, SHAPE, takes_large=False)
    assert kind == decoding.DECODED
    np.testing.assert_array_equal(np.frombuffer(answer, np.uint8).reshape(SHAPE), to_input(PICTURE, SHAPE))


@pytest.mark.parametrize(
    "content",
    [
        zeros_png(2001, 2000, 1, 0),  # pixels
        bmp_file(2000, 2000, 8, 1, bytes(24)),  # seconds: runs are decoded slowly
    ],
)
def test_a_costly_picture_is_for_another_process(content):
    assert decoding._answer(content, SHAPE, takes_large=False) == (decoding.LARGE, b"")
    assert decoding._answer(content, SHAPE, takes_large=True)[0] in (decoding.DECODED, decoding.UNUSABLE)


def test_above_fifty_million_pixels_nothing_is_decoded():
    for takes_large in (False, True):
        answer = decoding._answer(zeros_png(10_000, 5001, 1, 0), SHAPE, takes_large)
        assert answer == (decoding.TOO_LARGE, b"more than 50 million pixels")


def test_a_network_that_takes_no_squares_gets_its_size_or_a_reason():
    kind, answer = decoding._answer(PICTURE, (3, 9, 12), takes_large=False)
    assert (kind, answer) == (decoding.DECODED, noise(9, 12, 3).transpose(2, 0, 1).tobytes())
    kind, answer = decoding._answer(PICTURE, (3, 9, 10), takes_large=False)
    assert kind == decoding.UNUSABLE
    assert b"this network takes pictures of 10x9 pixels" in answer


def test_it_answers_until_its_input_ends_and_leaves_interrupts_to_the_server():
    process = subprocess.Popen(
        [sys.executable, "-c", "from kilnet.server.decoding import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.read(1) == decoding.READY
    if sys.platform != "win32":
        process.send_signal(signal.SIGINT)
    question = decoding.QUESTION.pack(*SHAPE, 0, False, len(PICTURE)) + PICTURE
    broken = decoding.QUESTION.pack(*SHAPE, 0, False, 3) + b"abc"
    out, err = process.communicate(question + broken + question + question[:-1], timeout=60)
    pixels = to_input(PICTURE, SHAPE).tobytes()
    reason = b"no image in one of the formats JPEG, PNG, GIF, BMP, WEBP, TIFF, PPM"
    answer = decoding.ANSWER.pack(decoding.DECODED, len(pixels)) + pixels
    assert out == answer + decoding.ANSWER.pack(decoding.UNUSABLE, len(reason)) + reason + answer
    assert (process.returncode, err) == (0, b"")
