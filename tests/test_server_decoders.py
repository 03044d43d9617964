"""Decoding in processes: what they answer, and that each can be ended and replaced."""

import asyncio
import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.data.decode import to_input
from kilnet.server import decoders
from kilnet.server.guard import RefusedError
from odd_pictures import zeros_png
from sent_pictures import png

SHAPE = (3, 8, 8)
PICTURE = png(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="no limits for processes here")


def with_decoders(ask):
    """Run `ask` with processes that are stopped afterwards, and are all gone then."""

    async def run():
        pool = decoders.Decoders()
        await pool.start()
        try:
            return await ask(pool)
        finally:
            running = [process.process for process in (*pool._small._all, *pool._large._all)]
            await pool.stop()
            assert running
            assert all(process.returncode is not None for process in running)

    return asyncio.run(run())


def instead_of_decoding(monkeypatch, statement):
    """Have the processes do something else with a picture whose first byte is B."""
    program = f"""
import os, time
from kilnet.server import decoding
estimate, to_input = decoding.estimate, decoding.to_input
def other(content, shape, fitting):
    if content[:1] != b"B":
        return to_input(content, shape, fitting=fitting)
    {statement}
decoding.estimate = lambda content: estimate(content if content[:1] != b"B" else {PICTURE!r})
decoding.to_input, decoding._SMALL_SECONDS = other, 1
decoding.main()
"""
    monkeypatch.setattr(decoders, "_PROGRAM", program)


async def refusal(pool, content):
    with pytest.raises(RefusedError) as refused:
        await pool.decode(content, SHAPE)
    return refused.value.status, refused.value.reason


def test_pixels_are_those_of_to_input():
    async def ask(pool):
        return await asyncio.gather(*(pool.decode(PICTURE, shape) for shape in [SHAPE, (1, 5, 5)] * 20))

    for number, image in enumerate(with_decoders(ask)):
        np.testing.assert_array_equal(image, to_input(PICTURE, (SHAPE, (1, 5, 5))[number % 2]))


def test_refusals_have_a_status_and_one_line():
    async def ask(pool):
        return [
            await refusal(pool, content) for content in (b"", zeros_png(89_000_000, 1, 8, 0), PICTURE[:-30])
        ]

    empty, long, cut = with_decoders(ask)
    assert empty == (415, "empty file")
    assert long == (413, "more than 50 million pixels")
    assert cut[0] == 415
    assert cut[1].startswith("damaged or cut short")


@pytest.mark.slow
@UNIX
@pytest.mark.parametrize(
    "statement",
    [
        "while True: pass",
        "os.abort()",
        "os._exit(0)",
        "raise SystemExit",
        "return [bytearray(2**32), bytearray(2**32)]",
    ],
)
def test_what_breaks_a_process_is_413_and_the_process_is_replaced(monkeypatch, statement):
    instead_of_decoding(monkeypatch, statement)

    async def ask(pool):
        first = await asyncio.gather(*(refusal(pool, b"B") for _ in range(3)))
        return first, await pool.decode(PICTURE, SHAPE)

    start = time.monotonic()
    refusals, image = with_decoders(ask)
    for status, reason in refusals:
        assert status == 413
        assert "too much memory" in reason
        assert "\n" not in reason
    np.testing.assert_array_equal(image, to_input(PICTURE, SHAPE))
    assert time.monotonic() - start < 30


def test_a_process_that_sleeps_is_ended_by_the_clock(monkeypatch):
    instead_of_decoding(monkeypatch, "time.sleep(1000)")
    monkeypatch.setattr(decoders, "_MAX_SECONDS", 0.5)

    async def ask(pool):
        return await refusal(pool, b"B")

    assert with_decoders(ask)[0] == 413


def test_large_pictures_keep_nobody_waiting():
    large = zeros_png(6000, 6000, 8, 6)

    async def ask(pool):
        slow = [asyncio.create_task(pool.decode(large, SHAPE)) for _ in range(6)]
        await asyncio.sleep(0.3)
        start = time.monotonic()
        for _ in range(5):
            await pool.decode(PICTURE, SHAPE)
        waited = time.monotonic() - start
        assert not all(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return waited

    assert with_decoders(ask) < 1


def test_processes_that_cannot_start_are_an_error(monkeypatch):
    monkeypatch.setattr(decoders, "_PROGRAM", "raise SystemExit")
    with pytest.raises(OSError, match="the processes that decode pictures cannot be started"):
        with_decoders(lambda pool: None)


def test_they_start_without_torch(monkeypatch):
    program = "import sys, kilnet.server.decoding as d; sys.exit(3) if 'torch' in sys.modules else d.main()"
    monkeypatch.setattr(decoders, "_PROGRAM", program)

    async def ask(pool):
        return await pool.decode(PICTURE, SHAPE)

    assert with_decoders(ask).shape == SHAPE


@UNIX
def test_they_end_with_a_server_that_was_killed():
    program = """
import asyncio, os
from kilnet.server.decoders import Decoders
async def run():
    pool = Decoders()
    await pool.start()
    print(*(process.process.pid for process in (*pool._small._all, *pool._large._all)), flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(run())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    end = time.monotonic() + 5
    for pid in map(int, done.stdout.split()):
        while time.monotonic() < end:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"{pid} runs on")
