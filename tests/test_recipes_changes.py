"""Settings by dotted key: which win, which are refused, and in what two configurations differ."""

import pytest

from changed_settings import ALL_CHANGED
from kilnet.config import RunConfig
from kilnet.recipes.changes import differences
from kilnet.recipes.reading import load_config
from refusals import refusal


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_win_over_the_recipe_and_the_recipe_over_the_defaults(tmp_path):
    recipe = write(tmp_path / "r.toml", "seed = 5\n[optimizer]\nlr = 0.1\nname = 'sgd'\n")
    config = load_config(recipe, {"optimizer.lr": 0.5})
    assert (config.optimizer.lr, config.optimizer.name, config.seed) == (0.5, "sgd", 5)
    assert config.training == RunConfig().training


def test_a_setting_of_none_goes_back_to_the_default(tmp_path):
    recipe = write(tmp_path / "r.toml", "training.patience = 3")
    assert load_config(recipe, {"training.patience": None}).training.patience is None


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("epochs", "training.epochs"),
        ("lr", "optimizer.lr"),
        ("training.lr", "optimizer.lr"),
        ("optimizer.epochs", "training.epochs"),
        ("hue", "augment.hue"),
        ("optimizer.learnig_rate", "optimizer"),
        ("optimizer.momentun", "optimizer.momentum"),
        ("augment.rotate", "augment.rotation"),
        ("training.batchsize", "training.batch_size"),
        ("optimiser.lr", "optimizer"),
        ("sed", "seed"),
    ],
)
def test_unknown_key_names_the_nearest_right_one(wrong, right):
    text = refusal(load_config, settings={wrong: 1})
    assert f"unknown key {wrong.split('.')[0]}" in text
    assert f"did you mean {right}" in text


@pytest.mark.parametrize("leaf_key", sorted(RunConfig().flat()))
def test_every_key_is_found_by_its_last_part(leaf_key):
    leaf = leaf_key.rpartition(".")[2]
    namesakes = [key for key in RunConfig().flat() if key.rpartition(".")[2] == leaf]
    if leaf == leaf_key:  # `seed` is itself a right key
        assert load_config(settings={leaf: ALL_CHANGED[leaf]}).flat()[leaf] == ALL_CHANGED[leaf]
    else:
        text = refusal(load_config, settings={leaf: 1})
        assert any(text.endswith(f"did you mean {key}?") for key in namesakes)


def test_a_key_like_nothing_gets_the_list():
    text = refusal(load_config, settings={"xyzzy": 1})
    assert "optimizer.lr" in text
    assert "training.epochs" in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("seed", 1.5),
        ("seed.x", 1),
        ("optimizer.lr", 0),
        ("optimizer.lr", float("nan")),
        ("optimizer.lr", float("inf")),
        ("optimizer.lr", "fast"),
        ("optimizer.name", "adm"),
        ("optimizer", 3),
        ("training.epochs", 0),
        ("training.epochs", [1]),
        ("training.batch_size", 1),
        ("training.low_resolution", [[0.5, 0.0]]),
        ("training.low_resolution", [[0.5, 0.5], [0.4, 0.7]]),
        ("augment.hue", 0.6),
        ("augment.horizontal_flip", 1.1),
        ("data.validation_fraction", 0),
        ("data.test_fraction", 1),
        ("hardware.precision", "fp8"),
        ("model.name", 3),
    ],
)
def test_wrong_values_are_refused_by_key(key, value):
    assert key.split(".")[0] in refusal(load_config, settings={key: value})


def test_a_value_is_no_group(tmp_path):
    recipe = write(tmp_path / "r.toml", "seed = 1")
    assert "seed is a value" in refusal(load_config, recipe, {"seed.x": 1})


@pytest.mark.parametrize("key", ["augment", "augment.preset"])
def test_preset_stands_for_its_keys_and_single_keys_go_on_top(key, tmp_path):
    tutorial = {"rotation": 20, "brightness": 0.2, "hue": 0.1, "horizontal_flip": 0.5, "fill": "black"}
    expected = RunConfig().augment.model_copy(update=tutorial)
    assert load_config(settings={key: "tutorial"}).augment == expected
    changed = expected.model_copy(update={"hue": 0.0})
    assert load_config(settings={key: "tutorial", "augment.hue": 0}).augment == changed
    recipe = write(tmp_path / "r.toml", f'{key} = "tutorial"')
    assert load_config(recipe, {"augment.hue": 0}).augment == changed
    assert load_config(recipe, {"augment": "none"}).augment == RunConfig().augment


def test_preset_in_a_table_with_single_keys(tmp_path):
    recipe = write(tmp_path / "r.toml", "[augment]\nhue = 0.3\npreset = 'tutorial'\n")
    augment = load_config(recipe).augment
    assert (augment.hue, augment.rotation) == (0.3, 20)


def test_unknown_preset_names_those_there_are():
    assert "tutorial" in refusal(load_config, settings={"augment": "tutorail"})
    assert "tutorial" in refusal(load_config, settings={"augment.preset": 3})


def test_differences_name_the_keys_that_matter():
    old = load_config(
        settings={"hardware.device": "cpu", "hardware.precision": "bf16", "hardware.threads": 2}
    )
    assert differences(old, RunConfig()) == []  # "auto" and 0 leave open what was chosen
    assert differences(RunConfig(), old) != []  # but what is asked for must be so
    assert (
        differences(old, old.model_copy(update={"data": old.data.model_copy(update={"dir": "moved"})})) == []
    )
    new = load_config(settings={"seed": 1, "model.c1": 8, "hardware.precision": "fp32"})
    assert differences(old, new) == [
        "hardware.precision: bf16 -> fp32",
        "model.c1: None -> 8",
        "seed: 0 -> 1",
    ]
