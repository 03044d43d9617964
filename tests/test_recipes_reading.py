"""Recipes as they are named and read, and times as people write them."""

from pathlib import Path

import pytest

from kilnet.config import RunConfig
from kilnet.errors import ConfigError
from kilnet.recipes.reading import load_config, parse_duration, parse_settings, written_duration
from kilnet.tuning.space import read_space
from refusals import refusal


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("0.5m", 30), ("2h5m10s", 7510)],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(written_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["600", "", "10 minutes", "m", "0s", "-5m", "1.2.3s", "5m1h", "infm", "1e3s"]
)
def test_other_times_are_refused_in_one_line(text):
    with pytest.raises(ConfigError, match=r"^`budget=.*`: write a time with its unit, .* 10m"):
        parse_duration(text)


def test_the_fast_recipe_is_known_by_its_name_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("fast"))
    assert (config.model.name, config.optimizer.name) == ("FastNet", "muon")
    (tmp_path / "fast").write_text("[model]\nname = 'ResNet'\n")
    assert load_config(Path("fast")).model.name == "ResNet"


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast-94").mkdir()  # a folder is no recipe
    built_in = load_config("fast-94")
    assert built_in.training.batch_size == 1536
    (tmp_path / "digits").write_text("seed = 5")
    assert load_config("digits") == RunConfig(seed=5)
    (tmp_path / "tutorial").write_text("seed = [1]")
    assert read_space(["tutorial"]) == {"seed": [1]}


@pytest.mark.parametrize("path", ["fast.toml", "recipes/fast", "./fast"])
def test_a_path_is_no_name(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_recipes_of_windows_editors_are_read(tmp_path, encoding):
    mark = "\ufeff" if encoding[7:] in ("le", "be") else ""  # Python writes none where the order is named
    content = f"{mark}# Größe\r\n[training]\r\nlabel_smoothing = 0.1\r\n"
    (tmp_path / "recipe.toml").write_bytes(content.encode(encoding))
    assert load_config(tmp_path / "recipe.toml").training.label_smoothing == 0.1


def test_recipes_in_other_encodings_are_refused(tmp_path):
    (tmp_path / "recipe.toml").write_bytes("# Größe".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"recipe\.toml: cannot be read: .*utf-8"):
        load_config(tmp_path / "recipe.toml")


def test_a_recipe_in_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "recipe.toml").write_text("seed = 7")
    assert load_config("~/recipe.toml").seed == 7


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
    text = refusal(load_config, recipe)
    assert str(recipe) in text
    assert part in text


def test_missing_recipe_and_folder_are_one_line(tmp_path):
    assert "No such file" in refusal(load_config, tmp_path / "none.toml")
    assert str(tmp_path) in refusal(load_config, tmp_path)


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
    assert "key=value" in refusal(parse_settings, [word])
