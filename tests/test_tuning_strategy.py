"""What is tried next: every cell in order, fair draws, and TPE, which has to earn its name."""

import math
import random
import warnings

import numpy as np
import pytest
from scipy import stats

from kilnet.recipes.reading import load_config
from kilnet.training.records import EpochRecord
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.strategy import propose
from kilnet.tuning.trial import Trial

RANGES = {
    "optimizer.lr": {"low": 1e-4, "high": 1.0, "log": True},
    "augment.rotation": {"low": 0.0, "high": 90.0},
}
LR = {"optimizer.lr": {"low": 1e-5, "high": 1e-1, "log": True}}


def config_of(space, strategy, num_trials, cohort=None, seed=0, epochs=1):
    run = load_config(settings={"seed": seed, "training.epochs": epochs})
    return SearchConfig(
        strategy=strategy,
        halving=True,
        num_trials=num_trials,
        cohort=cohort or num_trials,
        num_finalists=1,
        num_seeds=1,
        space=space,
        run=run,
    )


def ended(number, values, accuracy=0.5, num_epochs=1, trained=None, failed=False):
    """A trial that was trained for some epochs; fewer than all make it one that was sorted out."""
    history = tuple(
        EpochRecord(epoch, 0.001, 1.0, 0.5, 1.0 / epoch, accuracy, round(100 * accuracy), 100, True)
        for epoch in range(1, (num_epochs if trained is None else trained) + 1)
    )
    return Trial(
        number=number,
        values=values,
        history=history,
        reasons=("it failed",) if failed else (),
        failed=failed,
        num_epochs=num_epochs,
        patience=None,
        min_delta=0.0,
    )


def search(config, objective=lambda values: 0.5):
    """Run a search in which every trial ends at once, with the accuracy that the objective gives."""
    trials, sizes = [], []
    while proposed := propose(config, trials):
        sizes.append(len(proposed))
        trials += [ended(len(trials) + i, values, objective(values)) for i, values in enumerate(proposed)]
    return trials, sizes


def test_a_grid_is_its_cells_in_order_whatever_the_seed_and_the_cohort():
    space = {
        "model.c1": [4, 8],
        "optimizer.name": ["adam", "sgd"],
        "optimizer.momentum": {"values": [0.8, 0.9], "when": {"optimizer.name": "sgd"}},
    }
    cells = config_of(space, "grid", 6).parsed_space().cells()
    assert len(cells) == 6
    for cohort, seed in [(6, 0), (6, 1), (4, 0), (1, 0)]:
        trials, _ = search(config_of(space, "grid", 6, cohort, seed))
        assert [trial.values for trial in trials] == cells


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_cohorts_are_as_large_as_wanted_and_the_last_what_is_left(strategy):
    trials, sizes = search(config_of(RANGES, strategy, 20, cohort=9))
    assert sizes == [9, 9, 2]
    assert propose(config_of(RANGES, strategy, 20, cohort=9), trials) == []


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_asked_again_it_proposes_the_same(strategy):
    config = config_of(RANGES, strategy, 40, cohort=9)
    trials, _ = search(
        config_of(RANGES, strategy, 18, cohort=9), lambda values: 1 - values["augment.rotation"] / 90
    )
    trials[3] = ended(3, trials[3].values, failed=True)
    trials[4] = ended(4, trials[4].values, num_epochs=9, trained=3)
    first = propose(config, trials)
    assert first == propose(config, list(trials))
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - nobody's global stream matters
    assert first == propose(config, trials)
    assert first != propose(config_of(RANGES, strategy, 40, cohort=9, seed=1), trials)


@pytest.mark.parametrize("strategy", ["random", "tpe"])
@pytest.mark.parametrize(
    "space",
    [
        {"model.c1": list(range(1, 11)), "model.c2": list(range(10))},
        {"model.c1": {"low": 1, "high": 100}},
        {"optimizer.momentum": {"low": 0.0, "high": 0.6, "step": 0.1}, "model.c1": [1, 2, 3]},
    ],
    ids=["lists", "integers", "steps"],
)
def test_a_finite_space_is_used_up_without_repeats(space, strategy):
    num_cells = len(config_of(space, "grid", 1).parsed_space().cells())
    trials, _ = search(config_of(space, strategy, num_cells, cohort=num_cells if strategy == "random" else 9))
    values = [tuple(trial.values.items()) for trial in trials]
    assert len(set(values)) == len(values) == num_cells


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_a_space_smaller_than_the_number_of_trials_ends(strategy):
    space = {"model.c1": {"low": 4, "high": 8, "log": True}}
    trials, _ = search(config_of(space, strategy, 30))
    assert sorted(trial.values["model.c1"] for trial in trials) == [4, 5, 6, 7, 8]


def test_a_logarithmic_range_is_even_in_the_logarithm():
    trials, _ = search(config_of(LR, "random", 1500))
    drawn = [math.log10(trial.values["optimizer.lr"]) for trial in trials]
    assert stats.kstest(drawn, stats.uniform(-5, 4).cdf).pvalue > 0.01
    assert stats.kstest([10**x for x in drawn], stats.uniform(1e-5, 0.1).cdf).pvalue < 1e-9


def test_other_draws_are_even_and_independent():
    space = {"model.c1": [1, 2, 3, 4], "model.c2": {"low": 1, "high": 5}, **RANGES}
    values = [trial.values for trial in search(config_of(space, "random", 1200))[0]]
    rotation = [v["augment.rotation"] for v in values]
    assert stats.kstest(rotation, stats.uniform(0, 90).cdf).pvalue > 0.01
    for key, choices in (("model.c1", (1, 2, 3, 4)), ("model.c2", (1, 2, 3, 4, 5))):
        counts = [sum(v[key] == choice for v in values) for choice in choices]
        assert sum(counts) == len(values)
        assert stats.chisquare(counts).pvalue > 0.01
    assert stats.pearsonr([v["model.c1"] for v in values], rotation).pvalue > 0.01
    assert stats.pearsonr(rotation, [math.log(v["optimizer.lr"]) for v in values]).pvalue > 0.01


CONDITIONAL = {
    "optimizer.name": ["adam", "sgd"],
    "optimizer.momentum": {"low": 0.1, "high": 0.9, "when": {"optimizer.name": "sgd"}},
    "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
}


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_conditional_keys_are_there_when_they_should_be(strategy):
    trials, _ = search(
        config_of(CONDITIONAL, strategy, 36, cohort=9), lambda v: v.get("optimizer.momentum", 0.3)
    )
    names = {trial.values["optimizer.name"] for trial in trials}
    assert names == {"adam", "sgd"}
    for trial in trials:
        assert ("optimizer.momentum" in trial.values) == (trial.values["optimizer.name"] == "sgd")
        assert "optimizer.lr" in trial.values


def peak(values):
    """0.9 at lr 0.01 and rotation 20, falling off in orders of magnitude and degrees; noisy as validation is."""
    distance = (math.log10(values["optimizer.lr"]) + 2) ** 2 + ((values["augment.rotation"] - 20) / 30) ** 2
    return 0.9 * math.exp(-distance / 2)


def test_tpe_finds_a_peak_better_than_chance():
    num_seeds, num_trials = 8, 45

    def best(strategy, seed):
        trials, _ = search(config_of(RANGES, strategy, num_trials, cohort=9, seed=seed), peak)
        return max(peak(trial.values) for trial in trials)

    tpe = np.array([best("tpe", seed) for seed in range(num_seeds)])
    chance = np.array([best("random", seed) for seed in range(num_seeds)])
    assert 0.9 - tpe.mean() < 0.5 * (0.9 - chance.mean())
    assert stats.ttest_rel(tpe, chance, alternative="greater").pvalue < 0.05


def test_tpe_learns_from_trials_that_were_sorted_out():
    """Nine in a cohort come to their end seldom; the others' epochs count as well."""
    num_epochs = 9
    config = config_of(RANGES, "tpe", 63, cohort=9, epochs=num_epochs)
    trials = []
    while proposed := propose(config, trials):
        order = sorted(proposed, key=peak, reverse=True)
        trained = {id(values): (9, 3, 3, 1, 1, 1, 1, 1, 1)[place] for place, values in enumerate(order)}
        trials += [
            ended(len(trials) + i, values, peak(values), num_epochs, trained[id(values)])
            for i, values in enumerate(proposed)
        ]
    first, last = trials[:18], trials[-18:]
    assert np.median([peak(t.values) for t in last]) > 2 * np.median([peak(t.values) for t in first])


def test_tpe_goes_on_when_every_trial_failed():
    config = config_of(CONDITIONAL, "tpe", 27, cohort=9)
    trials = [ended(i, values, trained=0, failed=True) for i, values in enumerate(propose(config, []))]
    assert len(propose(config, trials)) == 9


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_nothing_is_said_that_the_user_cannot_change(strategy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(config_of(CONDITIONAL, strategy, 18, cohort=9))


GRID = {
    "model.c1": [4, 8, 12, 16],
    "model.c2": [4, 8, 12, 16],
    "optimizer.name": ["adam", "sgd"],
    "optimizer.momentum": {"values": [0.8, 0.9], "when": {"optimizer.name": "sgd"}},
}


def worth(values):
    """Each value adds something of its own; best is c1 12, c2 16, sgd with 0.9."""
    c1, c2 = {4: 0.0, 8: 0.1, 12: 0.2, 16: 0.15}, {4: 0.0, 8: 0.05, 12: 0.1, 16: 0.15}
    return 0.3 + c1[values["model.c1"]] + c2[values["model.c2"]] + values.get("optimizer.momentum", 0.7) / 10


@pytest.mark.parametrize("seed", range(5))
def test_effects_find_the_best_cell_where_they_add_up(seed):
    trials, sizes = search(config_of(GRID, "effects", 18, cohort=6, seed=seed), worth)
    assert sizes == [6] * 3
    cells = config_of(GRID, "effects", 18).parsed_space().cells()
    assert len(cells) == 48
    tried = [trial.values for trial in trials]
    assert all(tried.count(values) == 1 for values in tried)
    assert max(cells, key=worth) in tried
    assert sum(map(worth, tried[6:12])) > sum(map(worth, tried[:6])), "it learns from the first"


def test_the_first_cohort_has_every_value_as_often_as_it_can():
    trials, _ = search(config_of(GRID, "effects", 4))
    for key in ("model.c1", "model.c2"):
        assert sorted(trial.values[key] for trial in trials) == [4, 8, 12, 16]
    assert len({str(trial.values.get("optimizer.momentum")) for trial in trials}) == 3


def test_effects_are_the_same_when_asked_again_and_failures_count_as_the_worst():
    config = config_of(GRID, "effects", 20, cohort=4)
    trials, _ = search(config_of(GRID, "effects", 8, cohort=4), worth)
    assert propose(config, trials) == propose(config, list(trials))
    whole = propose(config, trials)
    begun = [*trials, *(ended(8 + i, values, trained=0) for i, values in enumerate(whole[:1]))]
    assert propose(config, begun) == whole[1:]
    best = max(trials, key=lambda trial: worth(trial.values))
    failed = [
        ended(t.number, t.values, failed=True, trained=0)
        if t.values["model.c1"] == best.values["model.c1"]
        else t
        for t in trials
    ]
    assert best.values["model.c1"] in [values["model.c1"] for values in propose(config, trials)]
    assert best.values["model.c1"] not in [values["model.c1"] for values in propose(config, failed)]
    assert len(propose(config, [ended(t.number, t.values, failed=True, trained=0) for t in trials])) == 4
