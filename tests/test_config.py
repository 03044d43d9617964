from pathlib import Path

import pytest

from changed_settings import ALL_CHANGED
from kilnet.config import RunConfig, by_dotted_key
from kilnet.recipes.reading import load_config


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_written_configuration_reads_back_equal(tmp_path):
    decay = "optimizer.layer_decay"  # goes with other optimisers than muon
    config = load_config(settings={key: value for key, value in ALL_CHANGED.items() if key != decay})
    defaults = RunConfig().flat()
    assert ALL_CHANGED.keys() >= defaults.keys(), "a key is missing from this test"
    assert [key for key in defaults if config.flat()[key] == defaults[key]] == [decay]
    assert load_config(write(tmp_path / "config.toml", config.to_toml())) == config
    assert load_config(write(tmp_path / "config.toml", RunConfig().to_toml())) == RunConfig()
    config = load_config(settings={"optimizer.name": "adamw", decay: ALL_CHANGED[decay]})
    assert load_config(write(tmp_path / "config.toml", config.to_toml())) == config


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


def test_what_lies_in_tables_has_a_key_with_dots():
    tree = {"a": 1, "b": {"c": [2], "d": {"e": None}}, "f": {}}
    assert list(by_dotted_key(tree)) == [("a", 1), ("b.c", [2]), ("b.d.e", None)]
