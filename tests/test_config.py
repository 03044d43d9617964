from pathlib import Path

import pytest

from kilnet.config import RunConfig, differences
from kilnet.errors import ConfigError
from kilnet.recipes.reading import load_config, parse_settings

# Every key at a value that is not its default.
ALL_CHANGED = {
    "seed": 7,
    "parent": "runs/parent",
    "data.source": 'a "folder" of ünusual\nname',
    "data.dir": "C:\\data",
    "data.image_size": 48,
    "data.normalisation": "half",
    "data.num_train": 500,
    "data.validation_fraction": 0.15,
    "data.test_fraction": 0.25,
    "data.split_seed": 3,
    "data.on_bad_image": "skip",
    "model.name": "ResNet",
    "model.depth": 8,
    "augment.rotation": 0.1 + 0.2,  # 0.30000000000000004 must survive
    "augment.translation": 0.1,
    "augment.shift_px": 2,
    "augment.zoom": 0.2,
    "augment.horizontal_flip": 0.5,
    "augment.vertical_flip": 0.25,
    "augment.alternate_flips": True,
    "augment.fill": "black",
    "augment.brightness": 0.3,
    "augment.contrast": 0.4,
    "augment.saturation": 1.5,
    "augment.hue": 0.1,
    "augment.cutout": 0.5,
    "optimizer.name": "muon",
    "optimizer.lr": 1e-7,
    "optimizer.momentum": 0.8,
    "optimizer.weight_decay": 5e-4,
    "optimizer.schedule": "cosine",
    "optimizer.warmup_epochs": 1.5,
    "optimizer.clip_norm": 1.0,
    "optimizer.filter_momentum": 0.7,
    "optimizer.linear_factor": 7.0,
    "optimizer.bias_factor": 440.0,
    "training.epochs": 3,
    "training.batch_size": 64,
    "training.min_steps": 4,
    "training.keep": "last",
    "training.label_smoothing": 0.1,
    "training.patience": 4,
    "training.min_delta": 0.001,
    "training.initial_weights": "parent",
    "training.frozen": "statistics",
    "training.batch_norm_images": 256,
    "training.averaging_epochs": 0.5,
    "training.low_resolution": ((0.3, 0.5), (0.6, 0.75)),
    "training.checkpoint_seconds": 5.5,
    "budget.seconds": 90.5,
    "budget.planned": ("training.epochs", "model.widths"),
    "views.mirror": True,
    "views.shift_px": 1,
    "views.margin": 0.5,
    "hardware.device": "cpu",
    "hardware.precision": "bf16",
    "hardware.layout": "channels_last",
    "hardware.threads": 2,
}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def message(call, *args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert text
    assert len(text.splitlines()) == 1
    return text


def test_settings_win_over_the_recipe_and_the_recipe_over_the_defaults(tmp_path):
    recipe = write(tmp_path / "r.toml", "seed = 5\n[optimizer]\nlr = 0.1\nname = 'sgd'\n")
    config = load_config(recipe, {"optimizer.lr": 0.5})
    assert (config.optimizer.lr, config.optimizer.name, config.seed) == (0.5, "sgd", 5)
    assert config.training == RunConfig().training


def test_a_setting_of_none_goes_back_to_the_default(tmp_path):
    recipe = write(tmp_path / "r.toml", "training.patience = 3")
    assert load_config(recipe, {"training.patience": None}).training.patience is None


def test_written_configuration_reads_back_equal(tmp_path):
    config = load_config(settings=ALL_CHANGED)
    defaults = RunConfig().flat()
    assert ALL_CHANGED.keys() >= defaults.keys(), "a key is missing from this test"
    assert [key for key in defaults if config.flat()[key] == defaults[key]] == []
    assert load_config(write(tmp_path / "config.toml", config.to_toml())) == config
    assert load_config(write(tmp_path / "config.toml", RunConfig().to_toml())) == RunConfig()


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
    text = message(load_config, settings={wrong: 1})
    assert f"unknown key {wrong.split('.')[0]}" in text
    assert f"did you mean {right}" in text


@pytest.mark.parametrize("leaf_key", sorted(RunConfig().flat()))
def test_every_key_is_found_by_its_last_part(leaf_key):
    leaf = leaf_key.rpartition(".")[2]
    namesakes = [key for key in RunConfig().flat() if key.rpartition(".")[2] == leaf]
    if leaf == leaf_key:  # `seed` is itself a right key
        assert load_config(settings={leaf: ALL_CHANGED[leaf]}).flat()[leaf] == ALL_CHANGED[leaf]
    else:
        text = message(load_config, settings={leaf: 1})
        assert any(text.endswith(f"did you mean {key}?") for key in namesakes)


def test_a_key_like_nothing_gets_the_list():
    text = message(load_config, settings={"xyzzy": 1})
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
    assert key.split(".")[0] in message(load_config, settings={key: value})


def test_a_value_is_no_group(tmp_path):
    recipe = write(tmp_path / "r.toml", "seed = 1")
    assert "seed is a value" in message(load_config, recipe, {"seed.x": 1})


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
    assert "tutorial" in message(load_config, settings={"augment": "tutorail"})
    assert "tutorial" in message(load_config, settings={"augment.preset": 3})


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[optimizer]\nlearning = 1", "unknown key optimizer.learning"),
        (b"[optimizer\nlr = 1", "not valid TOML"),
        (b"seed = 1\nseed = 2", "not valid TOML"),
        (b"# caf\xe9\nseed = 1", "cannot be read"),
    ],
)
def test_bad_recipe_is_one_line_with_its_path(content, part, tmp_path):
    recipe = tmp_path / "bad.toml"
    recipe.write_bytes(content)
    text = message(load_config, recipe)
    assert str(recipe) in text
    assert part in text


def test_missing_recipe_and_folder_are_one_line(tmp_path):
    assert "No such file" in message(load_config, tmp_path / "none.toml")
    assert str(tmp_path) in message(load_config, tmp_path)


def test_set_words_become_typed_values():
    words = [
        "optimizer.lr=1e-3",
        "training.epochs = 5",
        "model.flag=true",
        "model.widths=[16, 32]",
        "optimizer.name=sgd",
        'model.text="7"',
        "data.source=a=b=c",
        "model.empty=",
    ]
    assert parse_settings(words) == {
        "optimizer.lr": 0.001,
        "training.epochs": 5,
        "model.flag": True,
        "model.widths": [16, 32],
        "optimizer.name": "sgd",
        "model.text": "7",
        "data.source": "a=b=c",
        "model.empty": "",
    }


@pytest.mark.parametrize("word", ["optimizer.lr", "", "=3", " = 3"])
def test_set_without_key_or_value_shows_how_to_write_it(word):
    assert "key=value" in message(parse_settings, [word])


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


@pytest.mark.parametrize(
    ("num_images", "epochs", "batch_size"),
    [(48_000, 10, 500), (12_000, 6, 500), (2400, 10, 100), (24_000, 2, 333), (2400, 50, 100), (30, 10, 2)],
)
def test_few_images_and_few_epochs_make_small_batches(num_images, epochs, batch_size):
    settings = {"training.batch_size": 500, "training.min_steps": 24, "training.epochs": epochs}
    assert load_config(settings=settings).training.batch_size_for(num_images) == batch_size


@pytest.mark.parametrize("name", ["b\udce4ume", "\udcff", "a b/%41\udce4"])
def test_paths_that_are_no_text_are_written_as_uris_and_come_back(tmp_path, name):
    path = f"/data/{name}"
    config = RunConfig.model_validate({"data": {"source": path, "dir": path}, "parent": path})
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == config
    assert config.flat()["data.source"] == path
    assert f'source = "{Path(path).as_uri().replace("file://", "file:")}"' in config.to_toml()


def test_uris_of_other_programs_are_paths_too():
    for uri in ("file:/data/b%C3%A4ume%20x", "file:///data/b%C3%A4ume%20x"):
        assert load_config(settings={"data.source": uri}).data.source == "/data/b\u00e4ume x"
    for text in ("file", "file:photos", "/data/b\u00e4ume%20", "/data/two\nlines"):
        config = load_config(settings={"data.source": text})
        assert config.data.source == text
        assert config.tree()["data"]["source"] == text
