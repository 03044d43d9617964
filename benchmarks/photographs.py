"""Photographs in some budgets: what the budget chooses, named ways, and a plain PyTorch loop with the same weights.

    python benchmarks/photographs.py photos/ --budgets 30s 2m --seeds 3 --out runs/photographs

All of them get the same images and the same time by the clock on the wall, from the start of the process to the last
validation, and each runs in a process of its own, in turn. The plain loop is what many tutorials do: a new last layer,
AdamW at 0.0003 for all layers, random crops and mirror images of 224 pixels, fp32, channels last. It keeps its last
weights, and ends with the last step that fits into the time. The test split is read once, at the end. If it is stopped,
the same command resumes.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from kilnet import models
from kilnet.config import ModelConfig
from kilnet.data.dataset import Split
from kilnet.data.sources import load_dataset
from kilnet.models.pretrained import load_pretrained
from kilnet.recipes.reading import parse_duration
from kilnet.verbs.request import requested
from processes import described, kept, run_json

_BATCH_SIZE, _LR = 32, 3e-4
_WAYS = ("chosen", "pretrained", "frozen", "random", "plain loop")


def kilnet_run(data: str, way: str, budget: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train and evaluate with the command line."""
    options = {
        "chosen": ["--budget", budget],
        "pretrained": ["--model", "EfficientNetLite", "--budget", budget],
        "frozen": ["--frozen", "--budget", budget],
        "random": ["--from", "scratch", "--budget", budget],
    }[way]
    program = [sys.executable, "-m", "kilnet"]
    shared = ["--seed", str(seed), "--on-bad-image", "skip", "--out", str(folder), "--json"]
    trained = run_json([*program, "train", data, *options, *shared])
    tested = run_json([*program, "evaluate", str(folder), "--json"])
    return {
        "seconds": trained["wall_seconds"],
        "validation": trained["validation_accuracy"],
        "test": tested["accuracy"],
    }


def plain_loop(data: str, seconds: float, seed: int, started: float) -> dict[str, Any]:
    """Fine-tune all layers until the time is up; see the top of this file."""
    config = requested(data, "EfficientNetLite", None, {"data.on_bad_image": "skip"}, None, seed, None)
    dataset = load_dataset(config.data)
    network = models.complete(ModelConfig(name="EfficientNetLite"))
    torch.manual_seed(seed)
    model = models.build(network, dataset.image_shape, len(dataset.classes))
    load_pretrained(model, network)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LR)
    images, labels = (
        torch.from_numpy(a) for a in (dataset.train.images, dataset.train.labels.astype(np.int64))
    )
    step_seconds, num_steps, order = 0.0, 0, torch.empty(0, dtype=torch.int64)
    end_seconds = 0.0
    while time.monotonic() - started + step_seconds + end_seconds < seconds:
        start = time.monotonic()
        if len(order) < 2:
            order = torch.randperm(len(labels))
        chosen, order = order[:_BATCH_SIZE], order[_BATCH_SIZE:]
        model.train()
        loss = F.cross_entropy(model(_augmented(images[chosen])), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        num_steps += 1
        step_seconds = max(step_seconds, time.monotonic() - start)
        if num_steps == 1:  # how long validating takes
            start = time.monotonic()
            accuracy(model, dataset.validation)
            end_seconds = time.monotonic() - start
    validation = accuracy(model, dataset.validation)
    spent = time.monotonic() - started
    return {
        "seconds": spent,
        "steps": num_steps,
        "validation": validation,
        "test": accuracy(model, dataset.test),
    }


def _augmented(pixels: torch.Tensor) -> torch.Tensor:
    """Cut the same random part of at least four fifths of the side out of a batch, and mirror half of the images."""
    side = pixels.shape[2]
    cut = int(torch.randint(4 * side // 5, side + 1, ()))
    top, left = (int(torch.randint(side - cut + 1, ())) for _ in range(2))
    part = pixels[:, :, top : top + cut, left : left + cut].float()
    part = F.interpolate(part, (side, side), mode="bilinear")
    mirrored = torch.rand(len(part), 1, 1, 1) < 0.5
    return _normalised(torch.where(mirrored, part.flip(3), part))


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    return ((pixels.float() - 127) / 128).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def accuracy(model: torch.nn.Module, split: Split) -> float:
    """Return the part of a split's images that is classified right."""
    model.eval()
    num_correct = 0
    for start in range(0, len(split), 64):
        pixels = torch.from_numpy(split.images[start : start + 64])
        answers = model(_normalised(pixels)).argmax(1).numpy()
        num_correct += int((answers == split.labels[start : start + 64]).sum())
    return num_correct / len(split)


def main() -> None:
    """Run what is missing, and print one row for each way and budget."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--budgets", nargs="+", default=["30s", "2m"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=list(_WAYS), choices=_WAYS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plain", type=float, help=argparse.SUPPRESS)  # seconds: the plain loop alone
    given = parser.parse_args()
    if given.plain:
        print(json.dumps(plain_loop(given.data, given.plain, given.seeds, started)))
        return
    print("| | budget | seconds | validation | test |\n|---|---|---|---|---|")
    for budget in given.budgets:
        for way in given.ways:
            results = []
            for seed in range(given.seeds):
                folder = given.out / f"{way.replace(' ', '-')}-{budget}-{seed}"

                def run(
                    way: str = way, budget: str = budget, seed: int = seed, folder: Path = folder
                ) -> dict[str, Any]:
                    if way != "plain loop":
                        return kilnet_run(given.data, way, budget, seed, folder)
                    words = ["--plain", str(parse_duration(budget)), "--seeds", str(seed)]
                    return run_json([sys.executable, __file__, given.data, *words])

                results.append(kept(folder.with_suffix(".json"), run))
            cells = [described([r["seconds"] for r in results])]
            cells += [described([100 * r[key] for r in results]) for key in ("validation", "test")]
            print(f"| {way} | {budget} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
