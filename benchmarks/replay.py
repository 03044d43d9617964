"""Replays strategies of searching over grids that `grids.py` has recorded: what they cost, and what they miss.

    python benchmarks/replay.py FOLDER... [--repeats N]

Each strategy proposes and stops trials by Kilnet's own code; only the trainings come from the record. It searches with
each recorded seed, `--repeats` times where it draws. What it finds is worth the validation accuracy of that cell over
all recorded seeds; the regret is how much less that is than the best cell's, in points, with a 95% interval over seeds
(bootstrap). "within noise" is the part of the searches whose cell cannot be told from the best one, paired by seed and
image (95%). The rivals that are not Kilnet's:

    one epoch, best K   one epoch each, then the best K to the end (arXiv 2307.15422)
    full                all cells to the end, with one seed
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.recipes.reading import load_config
from kilnet.seeding import derive
from kilnet.storage import read_json
from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.tuning.finalists import choose_finalists, estimate
from kilnet.tuning.halving import in_cohorts, marks_of, standings
from kilnet.tuning.search_config import SearchConfig, search_config
from kilnet.tuning.strategy import propose
from kilnet.tuning.trial import Trial

Search = Callable[["Recorded", int, int], tuple[int, float]]
"""Takes a record, which of its seeds, and which repeat this is; returns the cell and the epochs that were trained."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """A grid that was trained to its end.

    Attributes:
        grid: what grid.json says.
        right: bool (num_seeds, num_cells, num_moments, num_images).
        loss: float64 (num_seeds, num_cells, num_moments).
    """

    grid: dict[str, Any]
    right: npt.NDArray[np.bool_]
    loss: npt.NDArray[np.float64]

    @classmethod
    def read(cls, folder: Path) -> "Recorded":
        """Read all seeds that are whole."""
        grid = read_json(folder / "grid.json")
        numbers = range(len(grid["cells"]))
        seeds = sorted(
            (path for path in folder.iterdir() if len(list(path.glob("*.npz"))) == len(numbers)),
            key=lambda path: int(path.name),
        )
        files = [[np.load(seed / f"{number:03}.npz") for number in numbers] for seed in seeds]
        right = [
            [np.unpackbits(file["right"], axis=1, count=grid["num_validation"]) for file in of_seed]
            for of_seed in files
        ]
        return cls(
            grid, np.array(right).astype(bool), np.array([[f["loss"] for f in of_seed] for of_seed in files])
        )

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Which images each cell has right with the weights that it keeps, bool (num_seeds, num_cells, num_images)."""
        whole = [index for index, moment in enumerate(self.grid["moments"]) if moment == int(moment)]
        best = self.loss[:, :, whole].argmin(axis=2)
        return np.take_along_axis(self.right[:, :, whole], best[:, :, None, None], axis=2)[:, :, 0]

    @property
    def worth(self) -> npt.NDArray[np.float64]:
        """Accuracy of each cell over all seeds, float64 (num_cells,)."""
        accuracy: npt.NDArray[np.float64] = self.kept.mean(axis=(0, 2))
        return accuracy

    def record_at(
        self, seed: int, cell: int, moment: float, best: float
    ) -> tuple[EarlyRecord | EpochRecord, float]:
        """Return the record of a moment, and the lowest loss of whole epochs so far, `best` before it."""
        index = self.grid["moments"].index(moment)
        right, loss = self.right[seed, cell, index], float(self.loss[seed, cell, index])
        numbers = (loss, float(right.mean()), int(right.sum()), len(right))
        if moment < 1:
            return EarlyRecord(moment, *numbers), best
        return EpochRecord(int(moment), 0.0, 0.0, 0.0, *numbers, is_best=loss < best), min(best, loss)


def trained(recorded: Recorded, seed: int, trial: Trial, until: float) -> Trial:
    """Return a trial as it would be after so many epochs."""
    cell = recorded.grid["cells"].index(trial.values)
    if until < 1:
        record, _ = recorded.record_at(seed, cell, until, np.inf)
        return replace(trial, early=(*trial.early, record))
    history, best = [], np.inf
    for epoch in range(1, int(until) + 1):
        record, best = recorded.record_at(seed, cell, float(epoch), best)
        history.append(record)
    return replace(trial, history=tuple(history))


def by_kilnet(**options: Any) -> Search:
    """Return a search by Kilnet's own strategies."""
    standard: dict[str, Any] = {"strategy": None, "halving": True, "trials": None, "finalists": 1, "seeds": 0}

    def search(recorded: Recorded, seed: int, repeat: int) -> tuple[int, float]:
        settings = recorded.grid["settings"] | {"seed": derive(seed, "search", repeat) % 2**31}
        config = search_config(load_config(settings=settings), recorded.grid["space"], **standard | options)
        config = in_cohorts(config, recorded.grid["num_train"], num_workers=1)
        trials = list(_searched(recorded, seed, config))
        winner = choose_finalists(trials, marks_of(config), 1)[0]
        return recorded.grid["cells"].index(winner.values), sum(trial.num_epochs_done for trial in trials)

    return search


def _searched(recorded: Recorded, seed: int, config: SearchConfig) -> Iterator[Trial]:
    trials: list[Trial] = []
    while True:
        due = [(trial, place.until) for place in standings(trials, config) for trial in place.due]
        for trial, until in due:
            trials[trial.number] = trained(recorded, seed, trial, until)
        if due:
            continue
        proposed = propose(config, trials)
        if not proposed:
            yield from trials
            return
        for values in proposed:
            trials.append(
                Trial(
                    number=len(trials),
                    values=values,
                    history=(),
                    reasons=(),
                    failed=False,
                    num_epochs=recorded.grid["epochs"],
                    patience=None,
                    min_delta=0.0,
                )
            )


def best_after_one_epoch(num_kept: int) -> Search:
    """Return the rival's search."""

    def search(recorded: Recorded, seed: int, _: int) -> tuple[int, float]:
        index, epochs = recorded.grid["moments"].index(1.0), recorded.grid["epochs"]
        after_one, num_cells = (
            recorded.right[seed, :, index].mean(axis=1),
            len(recorded.grid["cells"]),
        )
        alive = np.argsort(-after_one, kind="stable")[:num_kept]
        at_end = recorded.kept[seed].mean(axis=1)[alive]
        return int(alive[at_end.argmax()]), num_cells + num_kept * (epochs - 1)

    return search


def compare(recorded: Recorded, searches: dict[str, Search], repeats: int) -> Iterator[str]:
    """Yield a line on each way of searching."""
    num_seeds, num_cells = recorded.loss.shape[:2]
    worth, whole = recorded.worth, num_cells * recorded.grid["epochs"]
    best = int(worth.argmax())
    ties = {
        cell: estimate(recorded.kept[:, best].astype(np.int8) - recorded.kept[:, cell]).low <= 0
        for cell in range(num_cells)
    }
    for name, search in searches.items():
        found = [[search(recorded, seed, repeat) for repeat in range(repeats)] for seed in range(num_seeds)]
        cells = np.array([[cell for cell, _ in of_seed] for of_seed in found])
        passes = np.array([[epochs for _, epochs in of_seed] for of_seed in found]) / whole
        regret = 100 * (worth[best] - worth[cells])
        draws = np.random.default_rng(0).integers(0, num_seeds, (2000, num_seeds))
        low, high = np.quantile(regret.mean(axis=1)[draws].mean(axis=1), (0.025, 0.975))
        tied = np.mean([ties[cell] for cell in cells.ravel()])
        yield (
            f"{name:34} {passes.mean():6.1%} of the passes, regret {regret.mean():.2f} points "
            f"({low:.2f} to {high:.2f}), found the best {np.mean(cells == best):.0%}, within noise {tied:.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    for folder in options.folders:
        recorded = Recorded.read(folder)
        num_seeds, num_cells = recorded.loss.shape[:2]
        searches: dict[str, Search] = {
            "full": by_kilnet(halving=False),
            "grid in rungs": by_kilnet(),
            "one epoch, best 1": best_after_one_epoch(1),
            "one epoch, best 3": best_after_one_epoch(3),
        }
        for num_trials in (18, 24):
            if num_trials < num_cells:
                searches |= {
                    f"{strategy}, {num_trials} trials": by_kilnet(strategy=strategy, trials=num_trials)
                    for strategy in ("random", "tpe", "effects")
                }
        print(f"{folder}: {num_cells} cells, {num_seeds} seeds, best {recorded.worth.max():.2%}")
        for line in compare(recorded, searches, options.repeats):
            print(line, flush=True)


if __name__ == "__main__":
    main()
