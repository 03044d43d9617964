"""The best trials, trained again with other seeds, and what can be said of them then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.tuning.compare import Estimate, estimate
from kilnet.tuning.trial import Trial

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Final:
    """One finalist, by its number as a trial.

    Attributes:
        number: of the trial.
        accuracy: validation accuracy over seeds and images.
        behind: how much less accurate than the winner, paired; None for the winner.
    """

    number: int
    accuracy: Estimate
    behind: Estimate | None

    @property
    def is_tied(self) -> bool:
        """Whether it cannot be told from the winner."""
        return self.behind is None or self.behind.low <= 0


def choose_finalists(trials: Sequence[Trial], marks: Sequence[int], num_finalists: int) -> list[Trial]:
    """Return the best trials, best first: those that came through more rungs before others, then by accuracy.

    Args:
        trials: all of a search, each ended.
        marks: epochs at the ends of the rungs.
        num_finalists: how many, if there are so many that did not fail.
    """
    able = [trial for trial in trials if not trial.failed and trial.best() is not None]
    return sorted(able, key=lambda trial: (-sum(map(trial.reached, marks)), *trial.rank()))[:num_finalists]


def judge(correct: Mapping[int, Mapping[int, Correct]]) -> list[Final]:
    """Rank the finalists by mean accuracy and compare each with the winner.

    Args:
        correct: by trial number and seed, which validation images are right: bool (num_images,). Only seeds that
            all have are used; finalists without any are left out.
    """
    correct = {number: by_seed for number, by_seed in correct.items() if by_seed}
    if not correct:
        return []
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in correct.values())))
    if not seeds:  # each has failed with another seed: compare what there is the most of
        most = max(correct, key=lambda number: len(correct[number]))
        return judge({most: correct[most]})
    tables = {number: np.stack([by_seed[seed] for seed in seeds]) for number, by_seed in correct.items()}
    ranked = sorted(tables, key=lambda number: (-tables[number].mean(), number))
    best = tables[ranked[0]].astype(np.int8)
    return [
        Final(number, estimate(tables[number]), estimate(best - tables[number]) if index else None)
        for index, number in enumerate(ranked)
    ]
