"""Trains every cell of a grid to its end, once, so that any strategy can be replayed over it for nothing.

    python benchmarks/grids.py DATA --out FOLDER [--grid sixty|eight] [--seeds N] [--workers N] [--num-train N]
                               [--image-size N] [--epochs N] [--batch-size N] [--data-dir DIR]

Both grids are of ConfigNet, a sixth as wide as the tutorial's:

    sixty  widths (c1 8/16, c2 16/32), five learning rates, three augmentations
    eight  widths (c1 8/16, c2 16/32, l1 32/64)

A cell is validated after parts of 1/243, 1/81, 1/27, 1/9 and 1/3 of its epochs, rounded to steps, and after each whole
epoch; batch norm's statistics are measured again before each, which changes nothing of the training.

FOLDER/grid.json       the cells, the moments in epochs, and all settings that they share
FOLDER/S/NNN.npz       of cell NNN with seed S: `right`, which of the validation images it has right after each moment,
                       bits of uint8 (num_moments, num_images / 8); `loss`, float64 (num_moments,)

One process with one thread for each worker. If it is killed, the same command goes on. `replay.py` reads the folder.
"""

import argparse
import io
from collections.abc import Iterator
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import load_dataset
from kilnet.hardware import Settings
from kilnet.inference import forward
from kilnet.recipes.changes import change
from kilnet.recipes.reading import load_config
from kilnet.seeding import generator
from kilnet.storage import make_folder, read_json, write_bytes, write_json
from kilnet.training.initial_model import initial_model, preprocessing_for
from kilnet.training.loop import TrainingLoop
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.tuning.space import Space

_WIDTHS = {"model.c1": [8, 16], "model.c2": [16, 32]}
GRIDS: dict[str, dict[str, Any]] = {
    "eight": {**_WIDTHS, "model.l1": [32, 64]},
    "sixty": {
        **_WIDTHS,
        "optimizer.lr": [0.0003, 0.001, 0.003, 0.01, 0.03],
        "augment.translation": [0.0, 0.1],
        "augment.rotation": {"values": [0.0, 15.0], "when": {"augment.translation": 0.1}},
    },
}
SHARED = {"model.l1": 64, "optimizer.schedule": "linear", "hardware.threads": 1}
PARTS = (243, 81, 27, 9, 3)
SETTINGS = Settings(device="cpu", precision="fp32", layout="contiguous", threads=1)


def moments(num_epochs: int) -> list[float]:
    """Return after how many epochs cells are validated."""
    return sorted({*(num_epochs / part for part in PARTS), *map(float, range(1, num_epochs + 1))})


def record(dataset: ImageDataset, config: RunConfig, when: list[float]) -> Iterator[tuple[np.ndarray, float]]:
    """Train a cell; yield which validation images it has right, bool (num_images,), and the loss, at each moment."""
    preprocessing = preprocessing_for(config, dataset)
    model = initial_model(config, dataset, preprocessing, False, frozenset())
    loop = TrainingLoop(model, dataset, config, preprocessing, SETTINGS)
    labels, left = torch.from_numpy(dataset.validation.labels), list(when)
    num_images = min(config.training.batch_norm_images, len(dataset.train))
    for event in loop:
        if isinstance(event, StepRecord) and event.step < event.num_steps:
            done = event.epoch - 1 + event.step / event.num_steps
        elif isinstance(event, EpochRecord):
            done = float(event.epoch)
        else:
            continue
        if not left or done < left[0]:
            continue
        chosen = generator(config.seed, "batch norm", event.epoch).choice(
            len(dataset.train), num_images, False
        )
        images = torch.from_numpy(dataset.train.images[chosen])
        forward.measure_batch_norm(loop.validated_model, images, preprocessing, SETTINGS)
        validation = torch.from_numpy(dataset.validation.images)
        logits = forward.logits(loop.validated_model, validation, preprocessing, SETTINGS)
        right = (logits.argmax(1) == labels).numpy()
        while left and done >= left[0]:
            left.pop(0)
            yield right, float(F.cross_entropy(logits.double(), labels))


def train_cell(number: int, seed: int, out: Path) -> str:
    """Record a cell, unless it is there; return a line on it."""
    path = out / str(seed) / f"{number:03}.npz"
    grid = read_json(out / "grid.json")
    if not path.exists():
        base = load_config(settings=grid["settings"] | {"seed": seed})
        config = change(base, grid["cells"][number], "the grid")
        torch.set_num_threads(1)
        found = list(record(load_dataset(config.data).sealed(), config, grid["moments"]))
        right, losses = np.stack([right for right, _ in found]), np.array([loss for _, loss in found])
        make_folder(path.parent, parents=True)
        content = io.BytesIO()
        np.savez(content, right=np.packbits(right, axis=1), loss=losses)
        write_bytes(path, content.getvalue())
    losses = np.load(path)["loss"]
    return f"seed {seed}, cell {number}: loss {losses[0]:.3f} to {losses.min():.3f}"


def _train_cell(job: tuple[int, int, Path]) -> str:
    return train_cell(*job)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--grid", choices=sorted(GRIDS), default="sixty")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--num-train", type=int)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    options = parser.parse_args()
    space = GRIDS[options.grid]
    settings: dict[str, Any] = {key: value for key, value in SHARED.items() if key not in space}
    settings |= {"training.epochs": options.epochs, "training.batch_size": options.batch_size}
    given = {
        "data.num_train": options.num_train,
        "data.image_size": options.image_size,
        "data.dir": options.data_dir,
    }
    settings |= {"data.source": options.data} | {key: value for key, value in given.items() if value}
    cells = Space.parse(space).cells()
    dataset = load_dataset(load_config(settings=settings).data)
    make_folder(options.out, parents=True)
    grid = {
        "cells": cells,
        "space": space,
        "moments": moments(options.epochs),
        "epochs": options.epochs,
        "num_validation": len(dataset.validation),
        "num_train": len(dataset.train),
        "settings": settings,
    }
    path = options.out / "grid.json"
    if path.exists() and read_json(path) != grid:
        parser.error(f"{path}: another grid is recorded there; choose another --out")
    write_json(path, grid)
    jobs = [(number, seed, options.out) for seed, number in product(range(options.seeds), range(len(cells)))]
    with get_context("spawn").Pool(options.workers) as pool:
        for line in pool.imap(_train_cell, jobs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
