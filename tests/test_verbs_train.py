"""Training with one call."""

import time

import pytest
from PIL import Image

import kilnet
from kilnet.errors import ConfigError
from made_up_machine import HARDWARE, TINY, make_dataset


def test_train_takes_the_time_it_is_given_and_the_same_call_again_nothing_more(tmp_path, processor_time):
    dataset = make_dataset(num_train=120)
    start = time.process_time()
    run = kilnet.train(dataset, budget="6s", settings=TINY, out=tmp_path / "run", progress=False)
    assert 2.25 <= time.process_time() - start <= 6.3
    assert run.finished
    assert run.config.model.name == "FastNet"
    assert run.history[-1].lr < 0.05 * run.config.optimizer.lr
    assert run.config.training.epochs > 1
    before = {path: path.read_bytes() for path in run.folder.glob("*.*")}
    again = kilnet.train(dataset, budget="6s", settings=TINY, out=tmp_path / "run", progress=False)
    assert again.finished
    assert again.history == run.history
    assert {path: path.read_bytes() for path in run.folder.glob("*.*")} == before
    with pytest.raises(kilnet.errors.RunFolderError, match=r"budget\.seconds: 6\.0 -> 7\.0"):
        kilnet.train(dataset, budget="7s", settings=TINY, out=tmp_path / "run", progress=False)
    # The command that resumes it names its config.toml alone.
    kept = kilnet.train(
        dataset,
        recipe=run.folder / "config.toml",
        settings={"data.source": run.config.data.source},
        out=run.folder,
        progress=False,
    )
    assert kept.history == run.history


def test_a_budget_that_is_too_small_leaves_nothing_behind(tmp_path):
    with pytest.raises(ConfigError, match="too short"):
        kilnet.train(make_dataset(), budget="0.1s", settings=TINY, out=tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of pictures in the current folder."""
    monkeypatch.chdir(tmp_path)
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            picture(tmp_path / "photos" / name / f"{i}.png", label, i)
    return tmp_path / "photos"


def picture(path, label, i):
    Image.new("RGB", (16, 16), (40 * i, 90 * label, 7)).save(path)


def test_with_more_pictures_the_same_call_begins_a_new_run_and_resumes_that(photos, capfd):
    options = {"epochs": 1, "settings": HARDWARE | {"model.c1": 4, "model.c2": 4, "model.l1": 8}}
    first = kilnet.train(photos, **options)
    assert kilnet.train(photos, **options).folder == first.folder
    picture(photos / "cat" / "new.png", 1, 3)
    capfd.readouterr()
    second = kilnet.train(photos, **options)
    assert second.folder.name == f"{first.folder.name}-2"
    assert f"{first.folder} was begun with other images; a new run begins" in capfd.readouterr().err
    assert kilnet.train(photos, **options).folder == second.folder
    assert "was begun with other images" not in capfd.readouterr().err
    with pytest.raises(
        kilnet.errors.RunFolderError, match="the data is not what this run began with; choose another"
    ):
        kilnet.train(photos, out=first.folder, progress=False, **options)
    (photos / "cat" / "new.png").unlink()
    assert kilnet.train(photos, **options).folder == first.folder


def test_fine_tuning_on_other_images_than_the_parents_is_said(photos, capfd):
    settings = HARDWARE | {"model.c1": 4, "model.c2": 4, "model.l1": 8}
    parent = kilnet.train(photos, epochs=1, settings=settings | {"data.num_train": 4}, progress=False)
    said = "these are not the images that"
    for changes, is_said in (
        ({}, False),
        ({"data.num_train": None}, False),  # more of the same training images
        ({"data.num_train": 6}, False),
        ({"data.split_seed": 1}, True),
    ):
        kilnet.finetune(parent, epochs=1, settings=HARDWARE | changes)
        assert (said in capfd.readouterr().err) is is_said
    kilnet.finetune(parent, epochs=1, anew=True, settings=HARDWARE | {"data.split_seed": 1})
    assert said not in capfd.readouterr().err
