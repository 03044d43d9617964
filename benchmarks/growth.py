"""How the cost of each step grows with the number of pictures, with the classes and with the size of the images.

    python benchmarks/growth.py [--out DIR] [--numbers 1000 10000 100000] [--classes 2 100 1000] [--sizes 16 224 384]
    python benchmarks/growth.py --numbers 20000 --classes --sizes --usual-size 224 --limit-gb 2

The pictures are JPEG files of 256 x 256 pixels, smooth noise around a colour and a pattern of their class. One thing is
varied at a time; usual are 1,000 pictures (10,000 where the classes vary), 10 classes and 64 pixels. A small ConfigNet
is trained for one epoch, so that what grows is Kilnet's own. Every command runs in a process of its own with a cache of
its own, which is empty at first. Seconds are those on the wall ("read" and what follows without the imports), memory is
the highest resident of any of the processes.

With --limit-gb each process may have so much memory and no more, pages of files that it reads included (a control
group of version 1 of Linux, which takes root); beside it, the same without a limit. Interrupted, the same command
resumes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kilnet.data.sources import load_dataset
from kilnet.hardware import images_at_once
from kilnet.recipes.reading import load_config
from kilnet.training.records import StepRecord
from kilnet.training.session import TrainingSession
from processes import kept

_SIDE = 256
_SETTINGS = {
    "model.name": "ConfigNet",
    "model.c1": 4,
    "model.c2": 4,
    "model.l1": 8,
    "training.epochs": 1,
    "training.min_steps": 1,
    "hardware.device": "cpu",
}
_COLUMNS = ("data", "read", "first step", "epoch", "read again", "evaluate", "report", "export")
_USUAL_CLASSES = 10
_GROUP = Path("/sys/fs/cgroup/memory/kilnet-growth")


def write_picture(folder: Path, num_classes: int, number: int) -> None:
    """Write one picture into the folder of its class."""
    label = number % num_classes
    own, chance = np.random.default_rng(label), np.random.default_rng(1_000_000 + number)
    coarse = 0.6 * own.random((8, 8, 3)) + 0.4 * chance.random((8, 8, 3))
    picture = Image.fromarray((255 * coarse).astype(np.uint8)).resize(
        (_SIDE, _SIDE), Image.Resampling.BICUBIC
    )
    path = folder / f"class-{label:04}" / f"{number:06}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=85)


def write_pictures(folder: Path, number: int, num_classes: int) -> None:
    """Write a folder of pictures, with all cores, unless it is there."""
    if folder.exists():
        return
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(write_picture, part, num_classes), range(number), chunksize=100))
    part.rename(folder)


def limited(limit_gb: float | None) -> Callable[[], None] | None:
    """Return what a new process does to have no more memory than this, nothing without a limit."""
    if limit_gb is None:
        return None
    _GROUP.mkdir(exist_ok=True)
    (_GROUP / "memory.limit_in_bytes").write_text(str(int(limit_gb * 2**30)))

    def join() -> None:
        (_GROUP / "cgroup.procs").write_text(str(os.getpid()))

    return join


def measured(
    module: list[str], words: list[str], cache: Path, limit_gb: float | None
) -> tuple[float, float, dict[str, Any]]:
    """Run a program; return its seconds, the most memory it had in GB, and what it has said as JSON."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *module, *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"KILNET_CACHE": str(cache)},
            preexec_fn=limited(limit_gb),
        )
        output = process.stdout.read()  # type: ignore[union-attr]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        seconds = time.perf_counter() - start
        if status:
            errors.seek(0)
            raise SystemExit(f"{' '.join(words)}: status {status}\n{errors.read()}")
    return seconds, usage.ru_maxrss / 1e6, json.loads(output.splitlines()[-1])


def train(pictures: str, size: int, folder: str) -> None:
    """Train one epoch, and print when each part ended, in seconds from the beginning."""
    start = time.perf_counter()
    # What a step keeps in memory is not what is measured here.
    settings = _SETTINGS | {"training.batch_size": images_at_once(64, size, size, least=16)}
    config = load_config(None, settings | {"data.source": pictures, "data.image_size": size})
    dataset = load_dataset(config.data)
    ends = {"read": time.perf_counter() - start}
    for record in TrainingSession(dataset, config, Path(folder)):
        kind = "first step" if isinstance(record, StepRecord) else "epoch"
        ends.setdefault(kind, time.perf_counter() - start)
    print(json.dumps(ends | {"images": len(dataset.train)}))


def costs(number: int, num_classes: int, size: int, limit_gb: float | None, place: Path) -> dict[str, Any]:
    """Run each command on such pictures; return seconds and GB of each part."""
    pictures, work = place / f"pictures-{number}-{num_classes}", place / "work"
    write_pictures(pictures, number, num_classes)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    run = partial(measured, cache=work / "cache", limit_gb=limit_gb)
    program, own = ["-m", "kilnet"], [__file__, "--train"]
    seconds, most, _ = run(program, ["data", str(pictures), "--image-size", str(size), "--json"])
    found: dict[str, Any] = {"data": seconds, "data GB": most}
    shutil.rmtree(work / "cache")
    for again, folder in (("", work / "first"), (" again", work / "second")):
        _, most, ends = run(own, [str(pictures), str(size), str(folder)])
        found |= {f"read{again}": ends["read"], f"train GB{again}": most}
        found |= {f"first step{again}": ends["first step"] - ends["read"]}
        found |= {f"epoch{again}": ends["epoch"] - ends["first step"], "images": ends["images"]}
    for verb in ("evaluate", "report", "export"):
        found[verb], found[f"{verb} GB"], _ = run(program, [verb, str(work / "first"), "--json"])
    shutil.rmtree(work)
    return found


def line(name: str, found: dict[str, Any]) -> str:
    """Return one row of the table."""
    memory = max(value for key, value in found.items() if "GB" in key)
    return f"| {name} | " + " | ".join(f"{found[key]:.1f}" for key in _COLUMNS) + f" | {memory:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--numbers", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--classes", type=int, nargs="*", default=[2, 100, 1_000])
    parser.add_argument("--sizes", type=int, nargs="*", default=[16, 224, 384])
    parser.add_argument("--usual-number", type=int, default=1_000)
    parser.add_argument("--usual-size", type=int, default=64)
    parser.add_argument("--limit-gb", type=float)
    parser.add_argument("--out", type=Path, default=Path("runs/growth"))
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        pictures, size, folder = options.train
        train(pictures, int(size), folder)
        return
    usual, size = options.usual_number, options.usual_size
    cases = [(number, _USUAL_CLASSES, size) for number in options.numbers]
    cases += [(10 * usual, number, size) for number in options.classes]
    cases += [(usual, _USUAL_CLASSES, each) for each in options.sizes]
    print("| pictures, classes, pixels | " + " | ".join(_COLUMNS) + " | most GB |")
    print("|---|" + (len(_COLUMNS) + 1) * "---|")
    for case in cases:
        for limit in dict.fromkeys((None, options.limit_gb)):
            number, num_classes, side = case
            name = f"{number:,}, {num_classes:,}, {side}" + (f", {limit:g} GB" if limit else "")
            make = partial(costs, *case, limit, options.out)
            print(line(name, kept(options.out / f"{name}.json", make)), flush=True)


if __name__ == "__main__":
    main()
