"""The configuration that a verb is asked for, and how its folder is called."""

from dataclasses import replace

import pytest

from digit_runs import digits
from kilnet.config import RunConfig
from kilnet.errors import ConfigError
from kilnet.verbs.request import folder_name, open_choice, requested


def asked(
    data="digits",
    model=None,
    recipe=None,
    settings=None,
    epochs=None,
    seed=None,
    device=None,
    budget=None,
    start=None,
):
    return requested(data, model, recipe, settings, epochs, seed, device, budget, start)


def test_named_arguments_win_over_settings_and_these_over_the_recipe(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("seed = 3\n[training]\nepochs = 7\nbatch_size = 8\n[optimizer]\nlr = 0.5\n")
    config = asked(recipe=recipe, settings={"training.epochs": 9, "training.batch_size": 16}, epochs=11)
    assert (config.training.epochs, config.training.batch_size) == (11, 16)
    assert (config.optimizer.lr, config.seed, config.data.source) == (0.5, 3, "digits")
    plain = asked(model="ResNet", seed=4, device="cpu")
    assert (plain.model.name, plain.seed, plain.hardware.device) == ("ResNet", 4, "cpu")
    assert plain.training == RunConfig().training


def test_a_folder_is_written_down_so_that_it_is_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert asked("photos").data.source == str(tmp_path / "photos")
    assert asked(digits()).data.source == "ImageDataset"


def test_a_budget_plans_what_nobody_has_set():
    free = asked(budget="10m")
    assert (free.budget.seconds, free.model.name) == (600, "FastNet")
    assert {"training.epochs", "model.widths", "views.mirror"} <= set(free.budget.planned)
    assert "model.widths" not in asked(budget="10m", settings={"model.widths": [8, 8]}).budget.planned
    named = asked(budget="10m", model="ResNet")
    assert set(named.budget.planned) == {"training.epochs", "training.low_resolution"}
    low = {"training.low_resolution": [[0.5, 0.5]]}
    assert asked(budget="10m", model="FastNet", settings=low).budget.planned == ("training.epochs",)
    for epochs in ({"epochs": 3}, {"settings": {"training.epochs": 3}}):
        with pytest.raises(ConfigError, match="give one of them"):
            asked(budget="10m", **epochs)


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("digits", "ResNet", "digits-ResNet"),
        ("my photos/2024", "own.nets:net", "my-photos-2024-own.nets-net"),
        ("../..", "ConvNet", "-ConvNet"),
        ("Straße", "ConvNet", "Straße-ConvNet"),
    ],
)
def test_folders_have_names_that_every_file_system_takes(name, model, expected):
    dataset = replace(digits(), name=name)
    found = folder_name(dataset, asked(model=model) if ":" not in model else with_model(model))
    assert found == expected.strip("-.")


def with_model(name):
    config = asked()
    return config.model_copy(update={"model": config.model.model_copy(update={"name": name})})


def test_a_network_with_pretrained_weights_brings_its_recipe_and_its_image_size():
    config = requested("photos", "EfficientNetLite", None, None, None, None, None)
    assert (config.training.frozen, config.data.image_size) == ("statistics", 224)
    assert config.data.fit == "crop"
    settings = {"data.fit": "stretch"}
    assert requested("photos", "EfficientNetLite", None, settings, None, None, None).data.fit == "stretch"
    assert requested("photos", "ResNet", None, None, None, None, None).data.fit is None
    settings = {"model.size": 2}
    assert requested("photos", "EfficientNetLite", None, settings, None, None, None).data.image_size == 260
    settings = {"data.image_size": 96, "model.weights": "random"}
    assert requested("photos", "EfficientNetLite", None, settings, None, None, None).data.image_size == 96
    settings = {"model.weights": "random"}
    assert requested("photos", "EfficientNetLite", None, settings, None, None, None).data.image_size is None
    frozen = requested("photos", None, None, {"training.frozen": "features"}, None, None, None, "10m")
    assert (frozen.model.name, frozen.training.frozen) == ("EfficientNetLite", "features")


def test_what_a_run_begins_with_can_be_settled_by_hand():
    config = asked(budget="1m", start="pretrained")
    assert (config.model.name, config.data.image_size) == ("EfficientNetLite", 224)
    assert {"training.frozen", "training.epochs"} <= set(config.budget.planned)
    assert asked(start="pretrained").model.name == "EfficientNetLite"
    assert asked(budget="1m", start="scratch").model.name == "FastNet"
    assert asked(model="EfficientNetLite", start="scratch").model.options["weights"] == "random"
    with pytest.raises(ConfigError, match=r"start='pretrained'.*ResNet begins with random weights"):
        asked(model="ResNet", start="pretrained")
    with pytest.raises(ConfigError, match="scratch and pretrained"):
        asked(start="nowhere")


def test_there_is_a_choice_only_where_nothing_of_the_network_is_named():
    options = {
        "data": "digits",
        "model": None,
        "recipe": None,
        "settings": None,
        "seed": None,
        "device": None,
    }
    free = open_choice(**options, budget="1m", start=None)
    found = [(config.model.options["size"], config.data.image_size) for config in free]
    assert found == [(0, 224), (1, 240), (2, 260), (2, 320)][: len(free)]
    for other in (
        {"budget": None},
        {"start": "scratch"},
        {"model": "ResNet"},
        {"recipe": "fast"},
        {"settings": {"model.widths": [8, 8]}},
        {"settings": {"optimizer.lr": 0.1}},
        {"data": digits()},
    ):
        assert open_choice(**(options | {"budget": "1m", "start": None} | other)) is None


def test_a_network_in_any_case_is_that_network_with_its_recipe():
    as_known, other = (
        requested("digits", name, None, {"weights": "random"}, None, None, None)
        for name in ("EfficientNetLite", "efficientnetLITE")
    )
    assert other == as_known
    assert other.model.name == "EfficientNetLite"
    assert other.optimizer != requested("digits", None, None, None, None, None, None).optimizer
