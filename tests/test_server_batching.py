"""`kilnet serve` under load from another process: no error, batches, flat memory."""

import http.client
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

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
