"""Trains on CIFAR-10-LT with each `training.balance`, and writes macro recall on the balanced test images.

    python benchmarks/long_tail.py [--balance NAME]... [--seeds N] [--imbalance F] [--most N] [--recipe NAME]
                                   [--budget TIME | --epochs N] [--set KEY=VALUE]... [--data-dir DIR] [--out DIR]

Of class k of ten, most * imbalance^(-k/9) training images are kept, the first of each class: the exponential profile
of Cao et al. 2019, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", section 4.2. Validation
images are taken from these, the test images are all 10,000. Published with ResNet-32 and an imbalance of 100: 70.4%
with plain cross-entropy, 77 to 78% with LDAM-DRW and with adjusted logits.

Each run has a folder in --out, with the time it took in it; interrupted, the same command resumes. At the end
long-tail.csv holds one line per run, and what is printed is the mean over seeds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

import kilnet
from kilnet.config import DataConfig
from kilnet.data.dataset import ImageDataset, joined
from kilnet.data.sources import load_dataset
from kilnet.data.splits import complete
from kilnet.recipes.reading import parse_settings
from kilnet.storage import write_csv

BALANCES = ("none", "weights", "sampling", "logits")


def long_tailed(labels: npt.NDArray[np.int64], most: int, imbalance: float) -> npt.NDArray[np.int64]:
    """Return which images are kept, int64: of the commonest class `most`, of the rarest 1/imbalance of them."""
    num_classes = int(labels.max()) + 1
    kept = []
    for label in range(num_classes):
        wanted = int(most * imbalance ** (-label / (num_classes - 1)))
        kept.append(np.flatnonzero(labels == label)[:wanted])
    return np.sort(np.concatenate(kept))


def load(data_dir: str | None, most: int, imbalance: float, validation_fraction: float) -> ImageDataset:
    """Return CIFAR-10-LT: training and validation images have its profile, the test images are all there are."""
    whole = load_dataset(DataConfig(source="cifar10", dir=data_dir))
    everything = joined([whole.train, whole.validation])
    everything = everything.take(
        np.argsort(everything.names, kind="stable")
    )  # as the official files have them
    kept = everything.take(long_tailed(everything.labels, most, imbalance))
    config = DataConfig(validation_fraction=validation_fraction)
    train, validation, test = complete(kept, None, whole.test, whole.classes, config)
    return ImageDataset("cifar10-lt", whole.classes, train, validation, test)


def main(arguments: list[str] | None = None, show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--balance", action="append", choices=BALANCES, help="may be repeated; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--imbalance", type=float, default=100.0)
    parser.add_argument("--most", type=int, default=5000, help="training images of the commonest class")
    parser.add_argument("--validation", type=float, default=0.1, help="part of them that is validated on")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--budget", help="time of each run, such as 10m")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE; may be repeated")
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--out", type=Path, default=Path("runs/long-tail"))
    given = parser.parse_args(arguments)
    dataset = load(given.data_dir, given.most, given.imbalance, given.validation)
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    show(f"{len(dataset.train):,} training images, of each class {', '.join(map(str, counts))}")
    rows: list[list[Any]] = []
    for balance in given.balance or BALANCES:
        found = []
        for seed in range(given.seeds):
            settings = {
                **parse_settings(given.set),
                "training.balance": balance,
                "training.select": "macro-recall",
            }
            run = kilnet.train(
                dataset,
                recipe=given.recipe,
                settings=settings,
                epochs=given.epochs,
                budget=given.budget,
                seed=seed,
                out=given.out / f"{balance}-{seed}",
                progress=False,
            )
            evaluation = kilnet.evaluate(run, data=dataset, progress=False)
            low, high = evaluation.macro_recall_interval
            seconds = sum(timing["seconds"] for timing in run.files.timings())
            found.append(evaluation.macro_recall)
            rows.append(
                [balance, seed, evaluation.macro_recall, low, high, len(evaluation.never_predicted), seconds]
            )
            show(
                f"{balance:8} seed {seed}: macro recall {evaluation.macro_recall:.2%} ({low:.1%}–{high:.1%})"
            )
        spread = f" ± {stdev(found):.2%}" if len(found) > 1 else ""
        show(
            f"{balance:8} {mean(found):.2%}{spread} over {len(found)} seeds, {evaluation.num_images:,} test images"
        )
    heads = ["balance", "seed", "macro_recall", "low", "high", "num_never_predicted", "seconds"]
    write_csv(given.out / "long-tail.csv", heads, rows, "\n")


if __name__ == "__main__":
    main()
