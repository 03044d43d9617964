"""Seconds to 77.6%, 90% and 94% on CIFAR-10: Kilnet's fast and tutorial recipes and a plain PyTorch loop, in turn.

    python benchmarks/time_to_accuracy.py [--targets 77.6 90 94] [--recipes fast tutorial plain] [--seeds N]
                                          [--rounds N] [--out DIR] [--data-dir DIR] [--set key=value ...]

PLAN says with which recipe and how many epochs a target is tried. A run ends with these epochs, or after the first
epoch that is the best so far and whose validation accuracy is at least the target; then the test split is read,
once. What the seconds hold is said in timed_run.py: everything from images in memory to validated weights.

The plain loop is not trained to the end: that would take hours. Its images a second are measured here, in every
round, and its time is extrapolated to the epochs that the tutorial's own curve needs for 77.6%; without validation,
which favours it. The tutorial's curve ends there, so it has no time for 90% and 94%.

Each run is a process of its own; a round has one seed of every run and one measurement of the plain loop. Stopped
and started again, the benchmark resumes. Prints seconds, ratios, test accuracies (n, mean, standard deviation), and
GFLOP/s over whole runs beside that of a matrix product of side 2,048, measured after each.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from kilnet import hardware
from processes import described, kept, run_json

FOLDER = Path(__file__).parent

# By target, in per cent of the test images, and by name: the recipe, its epochs, and what else is set.
_LOW_RESOLUTION = "training.low_resolution=[[0.4,0.5],[0.75,0.75]]"
PLAN: dict[float, dict[str, tuple[str, int, tuple[str, ...]]]] = {
    77.6: {
        "fast": ("fast", 2, ("model.widths=[32,96,96]", _LOW_RESOLUTION)),
        "tutorial": ("tutorial-winner", 40, ()),
    },
    90.0: {"fast": ("fast", 3, ("training.low_resolution=[[0.45,0.75]]",))},
    94.0: {"fast": ("fast-94", 10, ())},
}
# The tutorial's augmented run passes 77.6% after about so many epochs of 45,000 images, by its author's curve.
PLAIN_TARGET, PLAIN_EPOCHS, PLAIN_IMAGES = 77.6, 31, 45_000

Outcomes = dict[tuple[float, str], list[dict[str, Any]]]


def train(target: float, name: str, seed: int, out: Path, settings: list[str]) -> dict[str, Any]:
    """Train one run of the plan, in a process of its own."""
    recipe, epochs, planned = PLAN[target][name]
    command = [sys.executable, str(FOLDER / "timed_run.py"), recipe, "--epochs", str(epochs)]
    command += ["--seed", str(seed), "--until", str(target / 100), "--out", str(out)]
    for setting in (*planned, *settings):
        command += ["--set", setting]
    return run_json(command)


def plain_speed(num_batches: int, data_dir: str | None) -> dict[str, Any]:
    """Measure images a second of the plain loop, in a process of its own."""
    command = [sys.executable, str(FOLDER / "plain_pytorch.py"), "--only", "plain_training"]
    command += ["--batch-size", "512", "--batches", str(num_batches)]
    command += ["--data-dir", data_dir] if data_dir else []
    return run_json(command)


def report(outcomes: Outcomes, speeds: list[float]) -> list[str]:
    """Return the lines of the result.

    Args:
        outcomes: `TimedRun`s by target and name, one a seed.
        speeds: images a second of the plain loop; empty where it was not measured.
    """
    seconds = {key: mean(run["seconds"] for run in runs) for key, runs in outcomes.items()}
    lines = []
    for (target, name), runs in outcomes.items():
        recipe, epochs, _ = PLAN[target][name]
        accuracies = [100 * run["test_accuracy"] for run in runs]
        speed = [1000 * run["teraflop"] / run["seconds"] for run in runs]
        part = mean(fast / run["matmul_gflops"] for fast, run in zip(speed, runs, strict=True))
        lines += [
            f"{target}% {name} ({Path(recipe).name}, {epochs} epochs, "
            f"{mean(run['num_epochs'] for run in runs):.1f} trained): {described([run['seconds'] for run in runs])} s, "
            f"test accuracy {described(accuracies, '.2f')}%, "
            f"{'reached' if mean(accuracies) >= target else 'NOT REACHED'}; "
            f"{mean(run['teraflop'] for run in runs):,.2f} TFLOP at {described(speed, ',.0f')} GFLOP/s, "
            f"{part:.0%} of a matrix product; "
            f"the test images in {mean(run['test_seconds'] for run in runs):.1f} s more"
        ]
    lines += [
        f"{target}%: {name} takes {seconds[target, name] / seconds[target, 'fast']:.1f} times as long as fast"
        for target, name in seconds
        if name != "fast" and (target, "fast") in seconds
    ]
    if speeds:
        plain = PLAIN_EPOCHS * PLAIN_IMAGES / mean(speeds)
        lines += [
            f"plain PyTorch: measured {described(speeds, ',.0f')} images/s; EXTRAPOLATED to {PLAIN_EPOCHS} epochs of "
            f"{PLAIN_IMAGES:,} images, {PLAIN_TARGET}% by the tutorial's curve: {plain:,.0f} s"
        ]
        if (PLAIN_TARGET, "fast") in seconds:
            ratio = plain / seconds[PLAIN_TARGET, "fast"]
            lines += [f"{PLAIN_TARGET}%: plain takes {ratio:.1f} times as long as fast (extrapolated)"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", type=float, nargs="+", default=list(PLAN), choices=list(PLAN))
    names = ["fast", "tutorial", "plain"]
    parser.add_argument("--recipes", nargs="+", default=names, choices=names)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind")
    parser.add_argument("--rounds", type=int, help="measurements of the plain loop; default: one a seed")
    parser.add_argument("--batches", type=int, default=8, help="steps a measurement of the plain loop")
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-accuracy"))
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of Kilnet's runs")
    options = parser.parse_args()
    settings = options.set + ([f"data.dir={options.data_dir}"] if options.data_dir else [])

    num_rounds = options.seeds if options.rounds is None else options.rounds
    print(f"{hardware.machine()}; torch {torch.__version__}")
    outcomes: Outcomes = {}
    speeds: list[float] = []
    for number in range(max(options.seeds, num_rounds)):
        if "plain" in options.recipes and number < num_rounds:
            path = options.out / "plain" / f"round-{number}.json"
            measured = kept(path, partial(plain_speed, options.batches, options.data_dir))
            speeds.append(measured["images_per_second"])
            print(f"plain, round {number}: {speeds[-1]:,.0f} images/s", flush=True)
        for target in options.targets if number < options.seeds else ():
            for name in (name for name in PLAN[target] if name in options.recipes):
                out = options.out / f"{target}" / f"{name}-{number}"
                run = train(target, name, number, out, settings)
                outcomes.setdefault((target, name), []).append(run)
                print(
                    f"{target}% {name}, seed {number}: {run['seconds']:.1f} s, test {run['test_accuracy']:.2%}",
                    flush=True,
                )
    print()
    print("\n".join(report(outcomes, speeds)))


if __name__ == "__main__":
    main()
