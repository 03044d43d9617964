"""Which trials come next: every cell of a grid, random ones, or those that TPE chooses after the trials before."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from kilnet.seeding import derive
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.space import Space, Values
from kilnet.tuning.trial import Trial

# How often a sampler may repeat itself before the cells that are left are taken.
_MAX_REPEATS = 50


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
    tools show no trial without a value.

    Args:
        state: by default complete, pruned or failed, as for a trial that has ended.
    """
    best = trial.best()
    if state is None:
        state = TrialState.COMPLETE if trial.finished else TrialState.PRUNED
        if trial.failed or best is None:
            state = TrialState.FAIL
    value = None
    if best and state == TrialState.COMPLETE:
        value = best.validation_accuracy
    elif trial.history and state == TrialState.PRUNED:
        value = trial.history[-1].validation_accuracy
    return create_trial(
        state=state,
        value=value,
        params=trial.values,
        distributions=space.distributions(trial.values),
        intermediate_values={record.epoch: record.validation_accuracy for record in trial.history},
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
