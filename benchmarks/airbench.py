"""94% on CIFAR-10: Kilnet's fast recipe and another program that trains for it, in turn on one machine.

    python benchmarks/airbench.py "python AIRBENCH" [--seeds N] [--first-seed N] [--rivals N] [--recipe FILE]
                                  [--epochs N] [--out DIR] [--data-dir DIR] [--set key=value ...]
    python benchmarks/airbench.py "python AIRBENCH" --steps N [--seeds N] [--recipe FILE] [--data-dir DIR]

The rival is meant to be a copy of Keller Jordan's airbench94_muon.py
(https://github.com/KellerJordan/cifar10-airbench), changed in nothing but the device, the dtype (bf16 autocast,
channels_last) and how it is started. It gets `--seed N` and must end with a line of JSON: {"seconds": by its own
clock, "accuracy": of the test images, 0 to 1}. That clock runs from images in memory to the answers for all test
images, and leaves out its evaluation after each epoch. Ours holds validation and saving after each epoch
(timed_run.py), and here the test images too.

With --steps only so many training steps are timed, after one to warm up; the rival gets `--batches N` as well and
must end with {"step_seconds": mean, "step_cpu_seconds": mean}: of the clock and of the processor, which other work on
the machine touches less. Steps at lower resolution count as they come.

Each run is a process of its own. Stopped and started again, the benchmark resumes; steps are measured again.
"""

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kilnet import hardware
from processes import described, kept, run_json

FOLDER = Path(__file__).parent
RECIPE = Path("fast-94")


def compare_steps(ours: list[str], rival: list[str], num_steps: int, seeds: range) -> None:
    """Time some training steps of both, in turn."""
    rounds: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for seed in seeds:
        commands = ([*ours, "--steps", str(num_steps)], [*rival, "--batches", str(num_steps)])
        a, b = (run_json([*command, "--seed", str(seed)]) for command in commands)
        rounds.append((a, b))
        print(
            f"seed {seed}: Kilnet {a['step_seconds']:.3f} s a step, {a['step_cpu_seconds']:.3f} of the processor; "
            f"rival {b['step_seconds']:.3f} and {b['step_cpu_seconds']:.3f}",
            flush=True,
        )
    print_ratio("seconds a step", [(a["step_seconds"], b["step_seconds"]) for a, b in rounds])
    print_ratio("of the processor", [(a["step_cpu_seconds"], b["step_cpu_seconds"]) for a, b in rounds])


def compare_runs(ours: list[str], rival: list[str], out: Path, seeds: range, num_rivals: int) -> None:
    """Train both, in turn, from images in memory to the answers for the test images; the rival in the first rounds."""
    own: list[dict[str, Any]] = []
    rivals: list[dict[str, Any]] = []
    for seed in seeds:
        words = ["--seed", str(seed)]
        a = run_json([*ours, *words, "--out", str(out / f"kilnet-{seed}")])
        speed = 1000 * a["teraflop"] / a["seconds"]
        a["seconds"] += a["test_seconds"]
        own.append(a)
        print(
            f"seed {seed}: Kilnet {a['seconds']:.1f} s, {a['test_accuracy']:.2%} "
            f"(validation {a['validation_accuracy']:.2%}, {a['num_epochs']} epochs, {a['teraflop']:.0f} TFLOP, "
            f"{speed:.0f} GFLOP/s: {speed / a['matmul_gflops']:.0%} of a matrix product)",
            flush=True,
        )
        if seed in seeds[:num_rivals]:
            b = kept(out / f"rival-{seed}.json", partial(run_json, [*rival, *words]))
            rivals.append(b)
            print(f"seed {seed}: rival {b['seconds']:.1f} s, {b['accuracy']:.2%}", flush=True)
    print(f"Kilnet's test accuracy: {described([100 * a['test_accuracy'] for a in own], '.2f')}%")
    print(f"Kilnet's seconds: {described([a['seconds'] for a in own])}")
    if rivals:
        print(f"the rival's test accuracy: {described([100 * b['accuracy'] for b in rivals], '.2f')}%")
        print_ratio(
            "seconds a run", [(a["seconds"], b["seconds"]) for a, b in zip(own, rivals, strict=False)]
        )


def print_ratio(what: str, pairs: list[tuple[float, float]]) -> None:
    """Print pairs of a time of ours and a time of the rival, and the ratio."""
    ours, theirs = zip(*pairs, strict=True)
    ratios = [a / b for a, b in pairs]
    print(
        f"{what}: Kilnet {described(ours, '.2f')}, rival {described(theirs, '.2f')}; "
        f"ratio {described(ratios, '.3f')}, from {min(ratios):.3f} to {max(ratios):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rival", help="the command that starts it, in one word")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rivals", type=int, help="runs of the rival, in the first rounds; default: in each")
    parser.add_argument("--steps", type=int, help="time only so many training steps")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--epochs", type=int, help="ours; default: the recipe's")
    parser.add_argument("--out", type=Path, default=Path("runs/airbench"))
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of Kilnet's runs")
    options = parser.parse_args()
    ours = [sys.executable, str(FOLDER / "timed_run.py"), str(options.recipe)]
    ours += ["--epochs", str(options.epochs)] if options.epochs else []
    for setting in options.set + ([f"data.dir={options.data_dir}"] if options.data_dir else []):
        ours += ["--set", setting]
    rival = shlex.split(options.rival)

    print(f"{hardware.machine()}; torch {torch.__version__}")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if options.steps:
        compare_steps(ours, rival, options.steps, seeds)
    else:
        num_rivals = options.seeds if options.rivals is None else options.rivals
        compare_runs(ours, rival, options.out, seeds, num_rivals)


if __name__ == "__main__":
    main()
