"""94% on CIFAR-10 on one GPU: Kilnet's fast recipe from a cold start and warm, beside another program, in turn.

    python benchmarks/gpu.py [--seeds N] [--cold N] [--minutes M] [--rival CMD] [--recipe FILE] [--data DATA]
                             [--out DIR] [--device D] [--data-dir DIR] [--set KEY=VALUE]...

warm   one process that has trained once already, with images in memory: kernels are loaded, settings measured. From
       there to validated weights on disk, and on to the answers for all test images.
cold   `kilnet train` in a new process with an empty cache, from its start to its end: Python, imports, reading the
       data, measuring, whatever is compiled, training, validation, calibration, pictures.
rival  any program that is told a seed a line on standard input, and answers each with a line of JSON, {"seconds": by
       its own clock, from images in memory to the answers for the test images, "accuracy": of these, 0 to 1}. It is
       started once. Until its first answer it may compile what it likes; that is its cold start.

In every round one seed is trained warm, by the rival, and in the first --cold rounds cold. After --minutes no further
round begins, and what there is is summed up. It runs on any device that torch knows, so that a CPU can rehearse it.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from kilnet import hardware
from kilnet.data.sources import load_dataset
from kilnet.recipes.reading import parse_settings
from kilnet.storage import cache_folder
from processes import described, run_json
from timed_run import configured, timed_run

RECIPE = Path("fast-94")


def train_as_told(recipe: Path, settings: dict[str, Any], out: Path) -> None:
    """Train once to warm up, then a seed a line of standard input, and print what each took."""
    config = configured(recipe, settings, None, 0)
    dataset = load_dataset(config.data)
    with TemporaryDirectory() as folder:
        timed_run(dataset, config, Path(folder))
    for line in sys.stdin:
        config = configured(recipe, settings, None, int(line))
        row = asdict(timed_run(dataset, config, out / f"warm-{int(line)}"))
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        print(json.dumps(row | {"peak_bytes": peak}), flush=True)


Train = Callable[[int], dict[str, Any]]


@contextmanager
def trainer(command: list[str]) -> Iterator[Train]:
    """Start a program that trains a seed a line; yield a function from a seed to what it says of that training."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def train(seed: int) -> dict[str, Any]:
            print(seed, file=process.stdin, flush=True)
            if not (line := process.stdout.readline()):  # type: ignore[union-attr]
                raise SystemExit(f"{shlex.join(command)}: ended without an answer")
            return json.loads(line)  # type: ignore[no-any-return]

        yield train


def cold_run(command: list[str]) -> dict[str, Any]:
    """Run a command with a cache that holds the fetched data and nothing else."""
    with TemporaryDirectory() as folder:
        cache, data = Path(folder) / "cache", cache_folder() / "cifar10"
        cache.mkdir()
        if data.exists():
            (cache / "cifar10").symlink_to(data.resolve())
        caches = {"KILNET_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache}
        environment = os.environ | {name: str(path) for name, path in caches.items()}
        return run_json([*command, "--out", str(Path(folder) / "run")], environment)


def print_seconds(what: str, rows: list[dict[str, Any]], key: str) -> None:
    """Print mean, deviation and number of a row's seconds, and of test accuracies where there are some."""
    accuracies = [100 * row["accuracy"] for row in rows if "accuracy" in row]
    print(
        f"{what}: {described([row[key] for row in rows], '.2f')} s"
        + (f", test accuracy {described(accuracies, '.2f')}%" if accuracies else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=30, help="runs of each kind")
    parser.add_argument("--cold", type=int, default=2, help="of them, runs from a cold start")
    parser.add_argument("--minutes", type=float, default=4.0, help="when to begin no further round")
    parser.add_argument("--rival", help="the command that starts it, in one word")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--warm-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = [*options.set, f"hardware.device={options.device}"]
    settings += [f"data.dir={options.data_dir}"] if options.data_dir else []
    if options.warm_process:
        train_as_told(options.recipe, parse_settings([*settings, f"data.source={options.data}"]), options.out)
        return

    end = time.perf_counter() + 60 * options.minutes
    device = hardware.resolve_device(options.device)
    print(f"{hardware.machine(device)}; torch {torch.__version__}")
    cold_command = [sys.executable, "-m", "kilnet", "train", options.data, "--recipe", str(options.recipe)]
    cold_command += [word for setting in settings for word in ("--set", setting)] + ["--json"]
    own_command = [sys.executable, __file__, *sys.argv[1:], "--warm-process"]
    rows: dict[str, list[dict[str, Any]]] = {"warm": [], "cold": [], "rival": []}
    with ExitStack() as stack:
        train = stack.enter_context(trainer(own_command))
        start = time.perf_counter()
        rival = stack.enter_context(trainer(shlex.split(options.rival))) if options.rival else None
        for seed in range(options.seeds):
            if time.perf_counter() > end:
                break
            if rival:
                rows["rival"].append(rival(seed))
                if seed == 0:
                    print(f"rival: {time.perf_counter() - start:.1f} s from its start to its first answer")
            rows["warm"].append(row := train(seed))
            if seed < options.cold:
                rows["cold"].append(cold_run([*cold_command, "--seed", str(seed)]))
            print(f"seed {seed}: {row['test_accuracy']:.2%} in {row['seconds']:.2f} s", flush=True)
    print_summary(rows)
    if device.startswith("cuda"):
        print(f"memory: {max(row['peak_bytes'] for row in rows['warm']) / 1e9:.1f} GB at most, warm")


def print_summary(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Print means over the runs of each kind, and how the warm ones compare with the rival's, seed by seed."""
    for row in rows["warm"]:
        row |= {"accuracy": row["test_accuracy"], "answered": row["seconds"] + row["test_seconds"]}
    print()
    print_seconds("warm, to validated weights", rows["warm"], "seconds")
    print_seconds("warm, to the answers for the test images", rows["warm"], "answered")
    speed = [1000 * row["teraflop"] / row["seconds"] for row in rows["warm"]]
    parts = [100 * fast / row["matmul_gflops"] for fast, row in zip(speed, rows["warm"], strict=True)]
    print(f"warm: {described(speed, ',.0f')} GFLOP/s, {described(parts)}% of a matrix product")
    if rows["cold"]:
        print_seconds("cold, the whole command", rows["cold"], "wall_seconds")
    if rows["rival"]:
        print_seconds("rival, by its own clock", rows["rival"], "seconds")
        ratios = [a["answered"] / b["seconds"] for a, b in zip(rows["warm"], rows["rival"], strict=True)]
        print(
            f"Kilnet warm takes {described(ratios, '.3f')} of the rival's time "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
