"""Asks a server from several threads and prints how that went: `python serve_load.py PORT REQUESTS THREADS`."""

import http.client
import io
import json
import sys
import threading
import time

import numpy as np
from PIL import Image


def pictures(num_pictures: int) -> list[bytes]:
    """Return PNG files of noise."""
    random = np.random.default_rng(0)
    files = [io.BytesIO() for _ in range(num_pictures)]
    for file in files:
        Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8)).save(file, "PNG")
    return [file.getvalue() for file in files]


def main(port: int, num_requests: int, num_threads: int) -> None:
    """Send the requests over connections that stay open; every tenth asks for a heat map."""
    files, seconds, statuses = pictures(16), [], []

    def ask(share: range) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for number in share:
            start = time.monotonic()
            path = "/api/predict?explain=true" if number % 10 == 0 else "/api/predict"
            connection.request("POST", path, files[number % 16], {"Content-Type": "image/png"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            seconds.append(time.monotonic() - start)

    threads = [
        threading.Thread(target=ask, args=(range(first, num_requests, num_threads),))
        for first in range(num_threads)
    ]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - start
    result = {
        "statuses": {status: statuses.count(status) for status in set(statuses)},
        "per_second": num_requests / elapsed,
        "p50_ms": 1000 * float(np.quantile(seconds, 0.5)),
        "p99_ms": 1000 * float(np.quantile(seconds, 0.99)),
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
