"""Decodes files, each in a process of its own, and says what that cost.

It is a program too, so that the memory of a test's process is not counted.
"""

import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_LONG = 2.0  # seconds; what takes less needs no second look


def costs(paths: Sequence[Path]) -> list[dict]:
    """Return for each file a dictionary: `name`; `seconds` of processor time for decoding and scaling it; `bytes` of
    memory beside what the process had before and the pixels, at most; `size`; `error`, its class and text, or None;
    `said`, what was written to standard error, Python's warnings among it.

    Kilnet's estimates are in seconds of a quiet machine. Where an ordinary picture takes longer than it is estimated to
    take right afterwards, this machine is slower at the moment, and `seconds` are divided by how much slower.
    """
    source = Path(__file__).parents[1] / "src"
    done = subprocess.run(
        [sys.executable, "-W", "always", __file__],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(source), "OPENBLAS_NUM_THREADS": "1"},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def ordinary_picture() -> bytes:
    """Return a PNG of 16 megapixels whose colours change slowly."""
    import numpy as np
    from PIL import Image

    ramp = np.linspace(0, 255, 4000).astype(np.uint8)
    pixels = np.stack([np.broadcast_to(ramp, (4000, 4000)), np.broadcast_to(ramp[:, None], (4000, 4000))], 2)
    file = io.BytesIO()
    Image.fromarray(np.concatenate([pixels, pixels[..., :1]], 2)).save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Measure the files that standard input names; one line of JSON each."""
    from kilnet.data.decode import decode, estimate
    from kilnet.data.squares import to_square

    ordinary = ordinary_picture()

    def slowness() -> float:
        seconds = []
        for _ in range(3):
            start = time.process_time()
            to_square(decode(ordinary)[0], 64)
            seconds.append(time.process_time() - start)
        return max(1.0, statistics.median(seconds) / estimate(ordinary).seconds)

    def measure(path: Path) -> None:
        said, there = os.pipe()
        os.dup2(there, 2)
        os.set_blocking(said, False)
        memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        found = {"name": path.name, "error": None, "size": None, "said": ""}
        num_pixels = 0
        try:
            pixels, _ = decode(path)
            found["size"] = pixels.shape[1::-1]
            num_pixels = pixels.shape[0] * pixels.shape[1]
            to_square(pixels, 64)
        except BaseException as error:
            found["error"] = [type(error).__name__, str(error)]
        found["seconds"] = time.process_time() - start
        more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
        found["bytes"] = max(0, more - 3 * num_pixels)
        if found["seconds"] > _LONG:
            found["seconds"] /= slowness()
        with suppress(BlockingIOError):
            found["said"] = os.read(said, 10_000).decode(errors="replace")
        print(json.dumps(found), flush=True)  # noqa: T201

    for line in sys.stdin.read().split("\n"):
        child = os.fork()
        if child == 0:
            measure(Path(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            found = {
                "name": Path(line).name,
                "error": ["Ended", str(status)],
                "seconds": 0,
                "bytes": 0,
                "said": "",
            }
            print(json.dumps(found), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
