"""Training steps of two gloo processes with one thread each, and of one process with two threads, in turn.

    python benchmarks/ranks.py [--rounds N] [--batches N]

ConfigNet 48/96/256 on random images of CIFAR-10's size, batches of 512, fp32. Prints images per second of each, and the
ratio of two processes to one: the median over the rounds' pairs.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

import torch

from kilnet import models
from kilnet.config import RunConfig
from kilnet.hardware import Settings
from kilnet.training.ranks import joined
from kilnet.training.step import TrainStep

_LAUNCHED = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def time_steps(num_batches: int, num_threads: int) -> None:
    """Print images per second, in the first process."""
    ranks = joined()
    torch.manual_seed(0)
    config = RunConfig()
    config = config.model_copy(update={"model": models.complete(config.model)})
    settings = Settings("cpu", "fp32", "channels_last", num_threads)
    settings.apply()
    model = models.build(config.model, (3, 32, 32), 10).to(memory_format=torch.channels_last)
    step = TrainStep(model, torch.optim.SGD(model.parameters(), lr=0.01), config, settings, None, ranks)
    images = torch.randn(512, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (512,))
    start = 0.0
    for number in range(num_batches + 1):
        if number == 1:  # the first one has warmed up
            ranks.share(None)
            start = time.monotonic()
        step(ranks.part(images), ranks.part(labels), 0, None)
    ranks.share(None)
    if ranks.rank == 0:
        print(num_batches * len(images) / (time.monotonic() - start))


def images_per_second(num_processes: int, num_batches: int) -> float:
    """Time steps in processes of their own, with two threads in all."""
    launched = [] if num_processes == 1 else _LAUNCHED
    words = [sys.executable, *launched, __file__, "--steps", str(num_batches), str(2 // num_processes)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps:
        time_steps(*options.steps)
        return
    ratios = []
    for _ in range(options.rounds):
        one, two = (images_per_second(number, options.batches) for number in (1, 2))
        ratios.append(two / one)
        print(f"one process {one:,.0f} images/s, two {two:,.0f}, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
