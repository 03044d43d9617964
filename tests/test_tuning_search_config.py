"""What a search is begun with, and which combinations of its space can be trained."""

import pytest

from kilnet.errors import ConfigError
from kilnet.recipes.reading import load_config
from kilnet.tuning.search_config import SearchConfig, check, describe, search_config
from kilnet.tuning.space import flatten
from refusals import refusal

DIGITS = (1, 16, 16), 10


def config_of(space, settings=None, **options):
    standard = {
        "strategy": "grid",
        "halving": True,
        "num_trials": 1,
        "cohort": 1,
        "num_finalists": 1,
        "num_seeds": 1,
    }
    run = load_config(settings=settings)
    return SearchConfig(**(standard | options), space=dict(flatten(space)), run=run)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (
            {"model.kernel": [3]},
            ["the space holds kernel 3", "unknown key model.kernel; did you mean model.kernel_size?"],
        ),
        (
            {"training.lr": [0.1]},
            ["the space holds lr 0.1", "unknown key training.lr; did you mean optimizer.lr?"],
        ),
        ({"optimiser.lr": [0.1]}, ["unknown key optimiser", "did you mean optimizer"]),
        ({"model.c1": [4, 0]}, ["the space holds c1 0", "model.c1 = 0: must be at least 1"]),
        ({"model.c1": [4, "many"]}, ["the space holds c1 many", "must be of type int"]),
        ({"model.c1": [4.5]}, ["the space holds c1 4.5", "must be of type int"]),
        ({"optimizer.lr": {"low": -1.0, "high": 1.0}}, ["the space holds lr -1", "greater than 0"]),
        ({"optimizer.momentum": {"low": 0.1, "high": 1.5}}, ["the space holds momentum 1.5", "less than 1"]),
        (
            {"optimizer.name": ["adam", "adma"]},
            ["the space holds name adma", "'adam', 'adamw', 'sgd' or 'muon'"],
        ),
        ({"model.name": ["ConfigNet", "Confinet"]}, ["name Confinet", "did you mean ConfigNet?"]),
        (
            {"model.c1": [4], "model.kernel_size": [3, 5]},
            ["c1 4, kernel_size 5", "needs images of at least 17x17"],
        ),
        ({"data.image_size": [16, 8]}, ["the space holds image_size 8", "needs images of at least 9x9"]),
        (
            {"optimizer.schedule": ["cosine", "onecycle"], "optimizer.warmup_epochs": [0.0, 1.0]},
            ["schedule onecycle, warmup_epochs 1", "onecycle warms up by itself"],
        ),
    ],
)
def test_a_combination_that_cannot_be_trained_is_named(space, told):
    message = refusal(check, config_of(space), *DIGITS)
    assert all(part in message for part in told), message


def test_a_resolution_that_one_of_the_networks_cannot_take_is_named():
    space = {"model.name": ["ResNet", "ConfigNet"]}
    config = config_of(space, {"training.low_resolution": [[0.5, 0.75]]})
    message = refusal(check, config, *DIGITS)
    assert "the space holds name ConfigNet: training.low_resolution: ConfigNet does not take" in message
    check(config_of({"model.name": ["ResNet"]}, {"training.low_resolution": [[0.5, 0.75]]}), *DIGITS)


def test_spaces_that_can_be_trained_pass():
    check(config_of({"model.c1": [4, 8], "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}), *DIGITS)
    check(config_of({"data.image_size": [9, 12]}), (1, 8, 8), 10)
    check(config_of({"augment": ["none", "tutorial"]}), *DIGITS)
    networks = {
        "model.name": ["ConfigNet", "ResNet"],
        "model.c1": {"values": [4], "when": {"model.name": "ConfigNet"}},
        "model.depth": {"values": [8], "when": {"model.name": "ResNet"}},
    }
    check(config_of(networks), *DIGITS)
    warmup = {
        "optimizer.schedule": ["cosine", "onecycle"],
        "optimizer.warmup_epochs": {"values": [0.0, 1.0], "when": {"optimizer.schedule": "cosine"}},
    }
    check(config_of(warmup), *DIGITS)


def test_a_trials_configuration_is_complete():
    config = config_of({"model.c1": [4]}, {"optimizer.lr": 0.01, "seed": 3}, num_seeds=2)
    run = config.run_of({"model.c1": 4}, seed=5)
    assert run.model.options == {"c1": 4, "c2": 96, "l1": 256, "d1": 0.1, "kernel_size": 3}
    assert (run.optimizer.lr, run.seed, config.run_of({}).seed) == (0.01, 5, 3)
    assert list(config.seeds) == [4, 5]  # never the seed that has chosen


def test_a_configuration_reads_back_as_it_was_written(tmp_path):
    import tomllib

    tree = {"model.c1": (4, 8), "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    config = config_of(tree)
    again = SearchConfig.model_validate(tomllib.loads(config.to_toml()))
    assert again.parsed_space() == config.parsed_space()
    assert again.run == config.run


def test_values_as_people_write_them():
    assert describe({"model.c1": 48, "optimizer.lr": 0.000123456, "optimizer.name": "sgd"}) == (
        "c1 48, lr 0.0001235, name sgd"
    )


@pytest.mark.parametrize(
    ("space", "trials", "strategy"),
    [
        (["model.c1=4,8,12"], None, "grid"),
        (["model.c1=4,8,12"], 2, "effects"),
        (["optimizer.lr=1e-4..1e-2:log"], 2, "tpe"),
    ],
)
def test_what_is_searched_with_where_nobody_says(space, trials, strategy):
    options = {"strategy": None, "halving": True, "finalists": 1, "seeds": 1}
    config = search_config(load_config(), space, trials=trials, **options)
    assert config.strategy == strategy


def test_effects_are_those_of_values_and_a_range_has_none():
    options = {"strategy": "effects", "halving": True, "trials": 9, "finalists": 1, "seeds": 1}
    with pytest.raises(ConfigError, match=r"^optimizer\.lr is a range, and `strategy='effects'` takes lists"):
        search_config(load_config(), ["optimizer.lr=1e-4..1e-2:log"], **options)
