"""Folders of grey pictures are grey; and networks of earlier versions still see three channels."""

import shutil

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.data.grey import all_grey, in_channels
from kilnet.training.run_folder import RunFolder
from picture_folders import RNG, load, save_picture

TINY = {"model.c1": 4, "model.c2": 4, "model.l1": 8}


@pytest.fixture
def scans(tmp_path):
    for name in ("ill", "well"):
        for number in range(10):
            path = tmp_path / "scans" / name / f"{number}.{'jpg' if number % 2 else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray(RNG.integers(0, 256, (20, 20), np.uint8))
            (grey if number % 3 else grey.convert("RGB")).save(path)
    return tmp_path / "scans"


def test_grey_pictures_have_one_channel(scans):
    grey, colour = load(scans), load(scans, channels="colour")
    assert (grey.image_shape, colour.image_shape) == ((1, 20, 20), (3, 20, 20))
    assert grey.train.names == colour.train.names
    np.testing.assert_array_equal(np.repeat(grey.train.images, 3, 1), colour.train.images)
    assert kilnet.inspect_data(scans, progress=False).image_shape == (1, 20, 20)


def test_one_picture_in_colour_makes_all_colour(scans):
    save_picture(scans / "ill" / "colour.png", 20, 20)
    assert load(scans).image_shape == (3, 20, 20)
    assert load(scans, channels="grey").image_shape == (1, 20, 20)


def test_grey_is_that_of_pillow():
    images = RNG.integers(0, 256, (3, 3, 5, 5), np.uint8)
    assert not all_grey(images)
    for image, grey in zip(images, in_channels(images, "grey"), strict=True):
        np.testing.assert_array_equal(
            grey[0], np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
        )
    assert not all_grey(images[:0])


@pytest.mark.slow
def test_a_run_of_an_earlier_version_sees_three_channels(scans, no_figures, tmp_path):
    settings = {**TINY, "data.channels": "colour", "data.near_duplicates": "apart"}
    run = kilnet.train(scans, epochs=1, settings=settings, out=tmp_path / "run", progress=False)
    path = run.folder / "config.toml"
    lines = path.read_text("utf-8").splitlines()
    old = [line for line in lines if not line.startswith(("channels", "near_duplicates"))]
    assert len(old) == len(lines) - 2
    path.write_text("\n".join(old) + "\n", encoding="utf-8")
    assert RunFolder(run.folder).config().data.channels == "colour"
    assert kilnet.evaluate(run.folder, progress=False).num_images == 4
    moved = shutil.move(scans, tmp_path / "moved")
    assert kilnet.evaluate(run.folder, data=moved, progress=False).num_images == 4
    finetuned = kilnet.finetune(run.folder, epochs=1, data=moved, out=tmp_path / "tuned", progress=False)
    assert finetuned.classifier.image_shape == (3, 20, 20)


def test_a_grey_network_is_evaluated_on_pictures_in_colour(scans, no_figures, tmp_path):
    run = kilnet.train(scans, epochs=1, settings=TINY, out=tmp_path / "run", progress=False)
    assert run.classifier.image_shape == (1, 20, 20)
    for number in range(3):
        save_picture(tmp_path / "others" / "ill" / f"{number}.png")
    assert kilnet.evaluate(run.folder, data=tmp_path / "others", split="all", progress=False).num_images == 3
