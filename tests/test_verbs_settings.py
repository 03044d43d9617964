"""The list of every setting."""

import subprocess
import sys

import pytest

import kilnet
from kilnet import models
from kilnet.config import ModelConfig, RunConfig
from kilnet.recipes.reading import load_config

ALL = kilnet.list_settings()
OF_RUNS = [setting for setting in ALL if setting.network is None]


def test_every_key_of_the_configuration_is_listed_with_its_default_and_a_meaning():
    assert {setting.key: setting.default for setting in OF_RUNS} == RunConfig().flat()
    assert all(setting.values and setting.meaning.endswith(".") for setting in ALL)


@pytest.mark.parametrize("name", models.MODELS)
def test_every_option_of_every_network_is_listed(name):
    listed = {s.key.removeprefix("model."): s.default for s in ALL if s.network == name}
    options = models.complete(ModelConfig(name=name)).options
    assert listed.keys() == options.keys()
    for key, default in listed.items():
        assert (list(default) if isinstance(default, tuple) else default) == options[key], key


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("training.epochs", "whole number at least 1"),
        ("training.patience", "whole number at least 1, or unset"),
        ("training.low_resolution", "list of pairs of numbers"),
        ("optimizer.lr", "number above 0"),
        ("optimizer.name", "adam | adamw | sgd | muon"),
        ("views.mirror", "true or false"),
        ("data.source", "text"),
        ("model.widths", "list of whole numbers"),
    ],
)
def test_values_are_said_in_words(key, values):
    assert [setting.values for setting in ALL if setting.key == key] == [values]


@pytest.mark.parametrize("setting", [s for s in OF_RUNS if " | " in s.values], ids=lambda s: s.key)
def test_values_that_are_listed_are_allowed(setting):
    if setting.values.startswith("list of "):
        load_config(settings={setting.key: setting.values.removeprefix("list of ").split(" | ")})
        return
    for value in setting.values.removesuffix(", or unset").split(" | "):
        load_config(settings={setting.key: value, "parent": "runs/a"})


def test_a_word_is_searched_in_keys_and_meanings_in_any_case():
    found = {setting.key for setting in kilnet.list_settings("FLIP")}
    assert {"augment.horizontal_flip", "augment.vertical_flip", "augment.alternate_flips"} <= found
    assert "optimizer.lr" not in found
    assert "training.patience" in {setting.key for setting in kilnet.list_settings("Better validation")}
    assert kilnet.list_settings("xyzzy") == ()


def test_networks_are_read_without_importing_them():
    program = (
        "import sys, kilnet; kilnet.list_settings(); kilnet.list_recipes(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
