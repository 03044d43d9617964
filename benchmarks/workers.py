"""The same grid by one worker with all threads, and by as many workers as there are threads, in turn.

    python benchmarks/workers.py [--rounds N] [--num-train N] [--workers N] [--data-dir DIR]

The tutorial's eight networks (c1 48/96, c2 96/192, l1 256/512) train for one epoch each on the first training images of
CIFAR-10, without halving or finalists. Each search is a process of its own with a folder of its own; the time is that
of the whole command, from its start to its end. Prints seconds, and the ratio of many workers to one: the median over
the rounds' pairs.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from kilnet import hardware

_SEARCH = """
import sys, kilnet
data_dir, workers, num_train, out = sys.argv[1:]
settings = {"data.num_train": int(num_train), "hardware.precision": "PRECISION", "hardware.layout": "channels_last"}
settings |= {"data.dir": data_dir} if data_dir else {}
space = {"model.c1": [48, 96], "model.c2": [96, 192], "model.l1": [256, 512]}
search = kilnet.HyperSearch("cifar10", space, halving=False, finalists=1, seeds=0, epochs=1, settings=settings,
                            workers=int(workers), out=out, progress=False)
for event in search: pass
"""


def seconds(num_workers: int, precision: str, options: argparse.Namespace) -> float:
    """Return how long the whole search takes."""
    folder = Path(tempfile.mkdtemp()) / "search"
    script = _SEARCH.replace("PRECISION", precision)
    words = [options.data_dir or "", str(num_workers), str(options.num_train), str(folder)]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script, *words], check=True)
    taken = time.perf_counter() - start
    shutil.rmtree(folder.parent)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num-train", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=hardware.available_threads())
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    options = parser.parse_args()
    print(f"{hardware.machine()}; torch {torch.__version__}")
    is_quick = hardware.matmul_gflops("bf16") > hardware.matmul_gflops("fp32")
    precision = "bf16" if is_quick else "fp32"  # one for all, so that only the workers differ
    ratios = []
    for number in range(options.rounds):
        one, many = (seconds(workers, precision, options) for workers in (1, options.workers))
        ratios.append(many / one)
        print(
            f"round {number + 1}: one worker {one:.1f} s, {options.workers} workers {many:.1f} s: {ratios[-1]:.3f}"
        )
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"\nratio {median(ratios):.3f} (median of {len(ratios)} pairs, {spread}), {precision}")


if __name__ == "__main__":
    main()
