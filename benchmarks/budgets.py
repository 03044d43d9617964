"""Accuracy after some budgets, beside a recipe that is stopped at the same moments.

    python benchmarks/budgets.py cifar10 --budgets 2m 5m 15m --out runs/budgets
    python benchmarks/budgets.py photos/ --budgets 2m --models ConfigNet ResNet --out runs/budgets

With --models these networks get the same budgets, with a learning rate that follows the time as that of FastNet does;
--set is for them.

Everything runs on one thread, and the clock of the budgets is the processor time of this process, so that other
programs take no part of it: on a core of its own, wall time is the same. It begins when the images are in memory.
Accuracies are those on the validation images, with 95% Wilson intervals; `kilnet evaluate` reads the test split of the
runs that are left in the folder.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import load_dataset
from kilnet.metrics.intervals import wilson_interval
from kilnet.recipes.reading import parse_duration, parse_settings
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.session import TrainingSession
from kilnet.verbs.request import requested

RECIPE = Path("tutorial-winner")
SETTINGS = {"hardware.threads": 1, "data.on_bad_image": "skip"}


def kept(dataset: ImageDataset, config: RunConfig, folder: Path) -> Iterator[tuple[float, int, EpochRecord]]:
    """Train; yield (seconds of processor time, images seen, record whose weights are kept) at each validation."""
    start = time.process_time()
    session = TrainingSession(dataset, config, folder, start, time.process_time)
    num_images, best = 0, None
    for record in session:
        if isinstance(record, StepRecord):
            num_images += record.num_images
            continue
        best = record if record.is_best else best
        assert best is not None  # noqa: S101 the first one is
        yield time.process_time() - start, num_images, best


def stopped_at(
    moments: list[float], course: Iterator[tuple[float, int, EpochRecord]]
) -> list[tuple[float, int, EpochRecord] | None]:
    """Return the last that was kept by each moment, None before the first; nothing is trained after the last moment."""
    found: list[tuple[float, int, EpochRecord] | None] = [None] * len(moments)
    for point in course:
        for index, moment in enumerate(moments):
            if point[0] <= moment:
                found[index] = point
        if point[0] > max(moments):
            break
    return found


def row(name: str, num_validation: int, point: tuple[float, int, EpochRecord] | None) -> str:
    """Describe one result in a row."""
    if point is None:
        return f"| {name} | | | no epoch yet |"
    seconds, num_images, record = point
    low, high = wilson_interval(record.num_validation_correct, num_validation)
    accuracy = f"{record.validation_accuracy:.2%} ({low:.1%}–{high:.1%})"
    return f"| {name} | {seconds:.1f} s | {num_images:,} | {accuracy} |"


def main() -> None:
    """Train with each budget, then the recipe, and print a row each."""
    time.perf_counter = time.process_time  # the plan's measurements go by the same clock
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--budgets", nargs="+", default=["2m", "5m", "15m"])
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--models", nargs="+", default=[], help="networks with the same budgets")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of these networks")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    config = requested(given.data, None, given.recipe, SETTINGS, 100_000, None, None)
    dataset = load_dataset(config.data)
    num_validation = len(dataset.validation)
    print("| | processor time | images trained on | validation accuracy |\n|---|---|---|---|")
    for budget in given.budgets:
        ours = requested(given.data, None, None, SETTINGS, None, None, None, budget)
        *_, last = kept(dataset, ours, given.out / budget)
        print(row(f"--budget {budget}", num_validation, last), flush=True)
        for name in given.models:
            settings = SETTINGS | parse_settings(given.set)
            other = requested(given.data, name, None, settings, None, None, None, budget)
            *_, last = kept(dataset, other, given.out / f"{name}-{budget}")
            print(row(f"{name}, --budget {budget}", num_validation, last), flush=True)
    moments = [parse_duration(budget) for budget in given.budgets]
    points = stopped_at(moments, kept(dataset, config, given.out / given.recipe.stem))
    for budget, point in zip(given.budgets, points, strict=True):
        print(row(f"{given.recipe.stem}, stopped at {budget}", num_validation, point))


if __name__ == "__main__":
    main()
