"""Requests that share a pass; and `kilnet serve` under load from another process: no error, batches, flat memory."""

import asyncio
import http.client
import json
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kilnet.server import batching
from kilnet.server.batching import Batcher, QueueFullError

CLIENT = Path(__file__).with_name("serve_load.py")
NUM_THREADS = 16


def load(served, num_requests):
    words = [sys.executable, str(CLIENT), str(served.port), str(num_requests), str(NUM_THREADS)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, timeout=60).stdout)


def resident_megabytes(pid):
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc: the memory of another process cannot be read")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def total(served, name):
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_load(served, capsys):
    load(served, 300)  # allocators and caches settle
    memory, pictures, batches = (
        resident_megabytes(served.pid),
        total(served, "kilnet_pictures_total"),
        total(served, "kilnet_batches_total"),
    )
    result = load(served, 1000)
    grown = resident_megabytes(served.pid) - memory
    pictures = total(served, "kilnet_pictures_total") - pictures
    batches = total(served, "kilnet_batches_total") - batches
    with capsys.disabled():
        sys.stdout.write(
            f"\n{NUM_THREADS} clients: {result['per_second']:.0f} pictures/s, p50 {result['p50_ms']:.0f} ms, "
            f"p99 {result['p99_ms']:.0f} ms, {pictures / batches:.1f} a batch, memory {grown:+.1f} MB\n"
        )
    assert result["statuses"] == {"200": 1000}
    assert pictures == 1000
    assert pictures / batches > 2, "clients that ask together must share passes"
    assert grown < 16


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
