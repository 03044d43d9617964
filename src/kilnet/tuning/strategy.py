"""Which trials come next: every cell of a grid, random ones, or those that the trials before make likely to be good."""

import itertools
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from kilnet.seeding import derive, generator
from kilnet.tuning.halving import marks_of
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.space import Space, Values
from kilnet.tuning.trial import Trial

# How often a sampler may repeat itself before the cells that are left are taken.
_MAX_REPEATS = 50
_SHRINKAGE = 1.0  # of effects; half or twice of it does as well on recorded grids (docs/experiments.md)


def propose(config: SearchConfig, trials: Sequence[Trial]) -> list[Values]:
    """Return the values of the next cohort, or of the rest of the newest one; empty when there are no more.

    They follow from the configuration and the earlier cohorts alone, so they are the same after a crash. No values
    are proposed twice.

    Args:
        config: the search.
        trials: all trials so far, in order; those of whole cohorts have ended.
    """
    num_begun = len(trials) % config.cohort
    before = trials[: len(trials) - num_begun]
    num_wanted = min(config.cohort, config.num_trials - len(before))
    if num_wanted <= num_begun:
        return []
    space = config.parsed_space()
    if config.strategy == "grid":
        return space.cells()[len(trials) : len(before) + num_wanted]
    if config.strategy == "effects":
        return _by_effects(config, space, before, num_wanted)[num_begun:]
    seed = derive(config.run.seed, "propose", len(before)) % 2**32
    study = create_study(sampler=_sampler(config, seed))
    for trial in before:
        study.add_trial(as_optuna(trial, space))
    seen = {_hashable(trial.values) for trial in before}
    proposed = _unseen(study, space, seen, num_wanted)
    if len(proposed) < num_wanted and space.endless is None:
        left = (cell for cell in space.cells() if _hashable(cell) not in seen)
        proposed += itertools.islice(left, num_wanted - len(proposed))
    return proposed[num_begun:]


def _by_effects(config: SearchConfig, space: Space, before: Sequence[Trial], num_wanted: int) -> list[Values]:
    """Return the cells that are likely to be best if each value adds something of its own, whatever the others are.

    What each adds is fitted to the results of the first rung, by least squares that are shrunk towards the mean (ridge
    regression: Hoerl and Kennard, 1970); a value that was never tried adds nothing. Of the first cohort nothing
    is known: there each cell has values that were taken least so far.
    """
    seen = {_hashable(trial.values) for trial in before}
    cells = space.cells()
    left = [cell for cell in cells if _hashable(cell) not in seen]
    order = generator(config.run.seed, "propose", len(before)).permutation(len(left))
    left = [left[index] for index in order]  # so that equals come in no order of their own
    if not before:
        return _balanced(left, space, num_wanted)
    first = marks_of(config)[0]
    results = np.array([trial.rank(first)[0] for trial in before])  # lower is better
    failed = np.array([trial.failed for trial in before])
    results[failed] = max(results[~failed], default=1.0)
    columns = {(key, _word(cell, key)): None for cell in cells for key in space.keys}
    effects = _effects(_table([trial.values for trial in before], list(columns)), results)
    predicted = _table(left, list(columns)) @ effects
    return [left[index] for index in np.argsort(predicted, kind="stable")[:num_wanted]]


def _effects(table: npt.NDArray[np.float64], results: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what each column of a table adds to the mean result, shrunk; float64 (num_columns,)."""
    square = table.T @ table + _SHRINKAGE * np.eye(table.shape[1])
    return np.linalg.solve(square, table.T @ (results - results.mean()))


def _table(cells: Sequence[Values], columns: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
    """Return 1 where a cell has the value of a column, else 0."""
    rows = [[_word(cell, key) == word for key, word in columns] for cell in cells]
    return np.array(rows, np.float64).reshape(len(cells), len(columns))


def _word(cell: Values, key: str) -> str:
    return repr(cell.get(key))


def _balanced(cells: Sequence[Values], space: Space, num_wanted: int) -> list[Values]:
    chosen: list[Values] = []
    left = list(cells)
    while left and len(chosen) < num_wanted:
        taken = Counter((key, _word(cell, key)) for cell in chosen for key in space.keys)
        best = min(left, key=lambda cell: sum(taken[key, _word(cell, key)] for key in space.keys))
        left.remove(best)
        chosen.append(best)
    return chosen


def create_study(
    name: str | None = None, storage: BaseStorage | None = None, sampler: BaseSampler | None = None
) -> optuna.Study:
    """Return a study that maximises, new or with the trials that the storage has; Optuna only logs errors."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        study_name=name, storage=storage, sampler=sampler, direction="maximize", load_if_exists=True
    )


def as_optuna(trial: Trial, space: Space, state: TrialState | None = None) -> FrozenTrial:
    """Return a trial as Optuna keeps it; the value is the validation accuracy of the kept weights.

    A pruned trial has its last validation accuracy as value, as `optuna.Study.tell` has it: the histories of Optuna's
    tools show no trial without a value. What was first seen within the first epoch is that of epoch 0.

    Args:
        state: by default complete, pruned or failed, as for a trial that has ended.
    """
    best = trial.result()
    seen = trial.history or trial.early
    first = {0: trial.early[0].validation_accuracy} if trial.early else {}
    if state is None:
        state = TrialState.COMPLETE if trial.finished else TrialState.PRUNED
        if trial.failed or best is None:
            state = TrialState.FAIL
    value = None
    if best and state == TrialState.COMPLETE:
        value = best.validation_accuracy
    elif seen and state == TrialState.PRUNED:
        value = seen[-1].validation_accuracy
    return create_trial(
        state=state,
        value=value,
        params=trial.values,
        distributions=space.distributions(trial.values),
        intermediate_values=first | {record.epoch: record.validation_accuracy for record in trial.history},
        user_attrs={"kilnet_trial": trial.number},
    )


def _sampler(config: SearchConfig, seed: int) -> BaseSampler:
    if config.strategy == "random":
        return RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Together (multivariate, group), since the widths of a network and its learning rate depend on each other.
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _hashable(values: Values) -> frozenset[tuple[str, Any]]:
    return frozenset(values.items())


def _unseen(
    study: optuna.Study, space: Space, seen: set[frozenset[tuple[str, Any]]], num_wanted: int
) -> list[Values]:
    """Return values that are not among those seen, and add them to these."""
    proposed: list[Values] = []
    num_repeats = 0
    while len(proposed) < num_wanted and num_repeats < _MAX_REPEATS:
        trial = study.ask()
        values = space.suggest(trial)
        if _hashable(values) in seen:
            study.tell(trial, state=TrialState.FAIL)
            num_repeats += 1
        else:
            seen.add(_hashable(values))
            proposed.append(values)  # stays open: the next proposals keep away from it
    return proposed
