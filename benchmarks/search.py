"""What halving and TPE save on the tutorial's grid, and what the networks that they find are worth.

    python benchmarks/search.py [--out DIR] [--num-train N] [--epochs N] [--seeds N] [--workers N] [--data-dir DIR]

Three searches on the first training images of CIFAR-10:

    full     the tutorial's grid (c1 48/96, c2 96/192, l1 256/512), every cell to its last epoch
    halving  the same grid in rungs
    tpe      60 cells in rungs, of which TPE tries 24: widths, five learning rates, three augmentations

Each then trains its winner again with further seeds, and the winners are compared with that of the full grid, paired
by seed and validation image. Prints the image passes of each search (without those further seeds) as a part of those
of its whole grid, and the time; that of all 60 cells is extrapolated from the images a second that were measured.
If it is killed, the same command resumes.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import kilnet
from kilnet import hardware
from kilnet.runs.wording import duration
from kilnet.terminal.search_progress import SearchDisplay
from kilnet.tuning.finalists import estimate
from kilnet.tuning.search_config import describe
from kilnet.tuning.search_folder import SearchFolder
from kilnet.tuning.summary import Summary

SIXTY_CELLS: dict[str, Any] = {
    "model.c1": [48, 96],
    "model.c2": [96, 192],
    "optimizer.lr": [0.0003, 0.0006, 0.001, 0.002, 0.004],
    "augment.horizontal_flip": [0.0, 0.5],
    "augment.translation": {"values": [0.0, 0.1], "when": {"augment.horizontal_flip": 0.5}},
}
SEARCHES: dict[str, dict[str, Any]] = {
    "full": {"space": "tutorial", "halving": False},
    "halving": {"space": "tutorial"},
    "tpe": {"space": SIXTY_CELLS, "strategy": "tpe", "trials": 24},
}


def search(name: str, options: argparse.Namespace) -> Summary:
    """Run one of the searches to its end, or resume it."""
    settings: dict[str, Any] = {"data.num_train": options.num_train, "optimizer.schedule": "linear"}
    if options.data_dir:
        settings["data.dir"] = options.data_dir
    hyper_search = kilnet.HyperSearch(
        "cifar10",
        **SEARCHES[name],
        settings=settings,
        epochs=options.epochs,
        finalists=1,
        seeds=options.seeds,
        workers=options.workers,
        out=options.out / name,
    )
    with SearchDisplay(hyper_search.loop) as display:
        display.follow()
    return hyper_search.summary()


def num_cells(summary: Summary) -> int:
    """Return how many cells the whole grid of a search has."""
    return len(summary.config.parsed_space().cells())


def winner_table(summary: Summary) -> npt.NDArray[np.bool_]:
    """Return which validation images the winner has right, bool (num_seeds, num_images)."""
    folder, config = SearchFolder(summary.folder), summary.config
    runs = [folder.run_folder(summary.finals[0].number, seed) for seed in config.seeds]
    return np.stack([right for run in runs if (right := folder.correct(run)) is not None])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("searches/benchmark"))
    parser.add_argument("--num-train", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each winner")
    parser.add_argument("--workers", type=int, help="default: measured")
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    options = parser.parse_args()
    print(f"{hardware.machine()}; torch {torch.__version__}")
    summaries = {name: search(name, options) for name in SEARCHES}
    best = winner_table(summaries["full"])
    for name, summary in summaries.items():
        num_epochs = sum(row.num_epochs for row in summary.trials)
        whole = num_cells(summary) * options.epochs
        seconds = sum(row.seconds for row in summary.trials)
        winner = next(row for row in summary.trials if row.number == summary.winner)
        table = winner_table(summary)
        difference = estimate(best.astype(np.int8) - table)
        print(
            f"\n{name}: {num_epochs * options.num_train:,} of {whole * options.num_train:,} image passes "
            f"({num_epochs / whole:.1%}), {duration(seconds)} of training at "
            f"{num_epochs * options.num_train / seconds:,.0f} images/s a worker "
            f"(the whole grid, extrapolated: {duration(seconds / num_epochs * whole)})\n"
            f"  winner {winner.number}: {describe(winner.values)}; validation accuracy {table.mean():.2%} over "
            f"{len(table)} seeds, {100 * difference.mean:.2f} points behind the full grid's "
            f"(95%: {100 * difference.low:.2f} to {100 * difference.high:.2f})"
        )


if __name__ == "__main__":
    main()
