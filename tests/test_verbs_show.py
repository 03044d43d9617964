"""`kilnet.show` prints what the command line prints, and the plots of data show the data."""

import sys

import numpy as np
import pytest
import torch

import kilnet
from kilnet import cli
from kilnet.data.augment import Augmentation
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import InputError
from kilnet.recipes.reading import load_config


def made(num_classes=3, num_train=40, channels=3):
    random = np.random.default_rng(0)

    def split(num_images):
        images = random.integers(0, 256, (num_images, channels, 10, 10)).astype(np.uint8)
        return Split(images, np.arange(num_images) % num_classes, tuple(map(str, range(num_images))))

    classes = tuple(f"class {number}" for number in range(num_classes))
    return ImageDataset("made", classes, split(num_train), split(20), split(20))


def sheet(figure):
    """Return the pixels of a figure's only panel."""
    (axes,) = figure.axes
    return np.asarray(axes.images[0].get_array())


def tile(pixels, row, column, scale, side=10, below=0):
    """Return one tile of a sheet, uint8 (channels, side, side), from the middle of each pixel's block."""
    top, left = row * (side * scale + 6 + below), column * (side * scale + 6)
    block = pixels[top : top + side * scale : scale, left : left + side * scale : scale]
    return block.transpose(2, 0, 1)


def test_a_data_set_is_shown_as_on_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kilnet", "data", "digits"])
    with pytest.raises(SystemExit):
        cli.main()
    printed = capsys.readouterr().out
    kilnet.show(kilnet.inspect_data("digits", progress=False))
    assert capsys.readouterr().out + "next: kilnet train digits --budget 10m\n" == printed
    assert "1,797" in printed


def test_images_in_memory_are_counted_too(capsys):
    inventory = kilnet.inspect_data(made(), progress=False)
    assert inventory.num_images["train"] == {"class 0": 14, "class 1": 13, "class 2": 13}
    kilnet.show(inventory)
    assert "class 2" in capsys.readouterr().out


def test_what_has_no_tables_is_refused():
    with pytest.raises(InputError, match="`result` is a dict"):
        kilnet.show({})


def test_training_images_are_in_the_row_of_their_class_and_the_test_split_is_not_read(monkeypatch):
    def refuse(_):
        pytest.fail("the test split was read")

    monkeypatch.setattr(ImageDataset, "test", property(refuse))
    data = made()
    figure = kilnet.plots.training_images(data, count=4)
    pixels = sheet(figure)
    scale = round(96 / 10)
    for label in range(3):
        own = {image.tobytes() for image in data.train.images[data.train.labels == label]}
        drawn = [tile(pixels, label, column, scale, below=30).tobytes() for column in range(4)]
        assert len(set(drawn)) == 4
        assert set(drawn) <= own
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text()] == [
        "class 0: 14 images",
        "class 1: 13 images",
        "class 2: 13 images",
    ]


def test_a_class_with_few_images_has_a_shorter_row_and_many_classes_are_cut():
    pixels = sheet(kilnet.plots.training_images(made(num_train=5), count=4))
    assert (tile(pixels, 2, 0, 10, below=30) != 255).any()
    assert (tile(pixels, 2, 1, 10, below=30) == 255).all()
    figure = kilnet.plots.training_images(made(num_classes=30), count=2)
    assert "the first 20 of 30 classes" in "".join(text.get_text() for text in figure.texts)


def test_augmentation_is_that_of_training():
    data, settings = made(), {"augment": "tutorial"}
    pixels = sheet(kilnet.plots.augmentation(data, settings, count=2, num_epochs=3, seed=4))
    config = load_config(settings=settings).augment
    originals = [tile(pixels, row, 0, 10) for row in range(2)]
    places = [int(np.flatnonzero((data.train.images == image).all((1, 2, 3)))[0]) for image in originals]
    everything = torch.from_numpy(data.train.images)
    for epoch in range(3):
        trained_on = Augmentation.draw(config, 40, 4, epoch)(everything, torch.arange(40)).numpy()
        for row, place in enumerate(places):
            drawn = tile(pixels, row, epoch + 1, 10)
            np.testing.assert_allclose(drawn, trained_on[place], atol=0.5)


def test_augmentation_that_is_switched_off_cannot_be_drawn():
    with pytest.raises(InputError, match="no augmentation is switched on"):
        kilnet.plots.augmentation(made(), {})
    with pytest.raises(InputError, match="count is 0"):
        kilnet.plots.training_images(made(), 0)
