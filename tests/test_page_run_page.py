"""The page of a run, as files and numbers; test_report_page_browser.py opens it."""

import base64
import dataclasses
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.inspection.attribution import grad_cam
from pages import TINY

pytestmark = pytest.mark.usefixtures("no_figures")


def noise(num_images, seed):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (num_images, 3, 16, 16)).astype(np.uint8)
    return kilnet.Split(
        images, random.integers(0, 3, num_images), tuple(f"{seed}/{i}" for i in range(num_images))
    )


@pytest.fixture(scope="module")
def data():
    return kilnet.ImageDataset("noise", ("a", "b", "c"), noise(60, 0), noise(40, 1), noise(50, 2))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return kilnet.train(data, epochs=1, out=out, settings=TINY, progress=False).folder


@pytest.fixture
def run(tmp_path, trained):
    return shutil.copytree(trained, tmp_path / "run")


def album_of(page):
    return json.loads(re.search(r'id="album">(.*?)</script>', page)[1])


def sheet(page, name):
    uri = re.search(rf'data-sheet="{name}" src="data:image/webp;base64,([^"]*)"', page)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))))


def test_a_run_that_keeps_its_last_weights_chose_no_epoch(run, data, tmp_path):
    own = shutil.copytree(run, tmp_path / "last")
    config = (own / "config.toml").read_text()
    (own / "config.toml").write_text(config.replace('keep = "best"', 'keep = "last"'))
    page = kilnet.report(own, data=data, progress=False).read_text("utf-8")
    assert "chosen on these images" not in page
    assert "The test split is for kilnet evaluate" in page


def test_few_images_are_told_of_folds_and_a_leak_is_told_at_the_top(data, tmp_path):
    leak = "the given split leaks: 3 of 50 test images are equal, alike or of one group with some of train"
    leaking = dataclasses.replace(data, warnings=(leak,))
    out = tmp_path / "leaking"
    kilnet.train(leaking, epochs=1, out=out, settings=TINY, progress=False)
    page = kilnet.report(out, data=leaking, progress=False).read_text("utf-8")
    assert f"Beware: {leak}." in page
    assert "folds give a better number than one split: kilnet.cross_validate in Python" in page
    (out / "config.toml").write_text(
        (out / "config.toml").read_text().replace('"ImageDataset"', '"/data/photos"')
    )
    page = kilnet.report(out, data=leaking, progress=False).read_text("utf-8")
    assert "kilnet train photos --recipe config.toml --folds 5" in page
    (out / "config.toml").write_text(
        (out / "config.toml").read_text().replace('"/data/photos"', '"ImageDataset"')
    )
    kilnet.cross_validate(leaking, folds=2, workers=1, epochs=1, out=out, settings=TINY, progress=False)
    page = kilnet.report(out, data=leaking, progress=False).read_text("utf-8")
    assert "2 folds, each image predicted by a network that has not seen it: accuracy" in page
    assert "--folds 5" not in page


def test_page_shows_validation_until_the_test_split_has_been_evaluated(run, data):
    path = kilnet.report(run, data=data, progress=False)
    assert path == run / "report.html"
    first = path.read_text("utf-8")
    assert all(name.startswith("1/") for name in album_of(first)["names"])
    assert "chosen on these images" in first
    assert list(json.loads((run / "evaluation.json").read_text())) == ["validation"]

    kilnet.evaluate(run, data=data, progress=False)
    second = kilnet.report(run, data=data, progress=False).read_text("utf-8")
    assert all(name.startswith("2/") for name in album_of(second)["names"])
    assert "chosen on these images" not in second
    assert json.loads((run / "evaluation.json").read_text())["test"]["num_reads"] == 1, (
        "report must not evaluate"
    )


def test_report_never_reads_a_test_split_that_was_not_evaluated(run, data, monkeypatch):
    monkeypatch.setattr(
        kilnet.ImageDataset, "test", property(lambda _: pytest.fail("the test split was read"))
    )
    kilnet.report(run, data=data, progress=False)


def squares(page, name):
    """Return the pictures of a sheet by the names of their images."""
    album, pixels = album_of(page), sheet(page, name)
    side, places = album["side"], (divmod(place, album["columns"]) for place in range(len(album["names"])))
    cuts = [
        pixels[side * row : side * (row + 1), side * column : side * (column + 1)] for row, column in places
    ]
    return dict(zip(album["names"], cuts, strict=True))


def test_embedded_pictures_are_the_images_and_their_heat_maps(run, data):
    page = kilnet.report(run, data=data, progress=False).read_text("utf-8")
    pictures = squares(page, "images")
    assert len(pictures) == 40, "a small split is carried whole"
    for name, square in pictures.items():
        np.testing.assert_array_equal(square.transpose(2, 0, 1), data.validation.images[int(name[2:])])

    classifier, half_a_shade = kilnet.load(run), 0.5 / 31 + 0.5 / 255
    labels = {
        "truth": data.validation.labels,
        "predicted": classifier.logits(data.validation.images).argmax(1),
    }
    for kind, other in (("predicted", "truth"), ("truth", "predicted")):
        for name, square in squares(page, kind).items():
            index = int(name[2:])
            label = labels[kind][index]
            if kind == "truth" and label == labels[other][index]:
                continue  # the map of the prediction is the same
            heat = grad_cam(classifier, data.validation.images[index], int(label))
            np.testing.assert_allclose(square[..., 0] / 255, heat, atol=half_a_shade)


def test_picture_of_the_filters_is_their_weights(run):
    page = kilnet.report(run, progress=False).read_text("utf-8")
    tag = re.search(r'<img class="pixels" src="data:image/webp;base64,([^"]*)"', page)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(tag[1]))))
    weights = kilnet.load(run).model.conv1.weight.detach().numpy()
    scaled = (weights - weights.min()) / (weights.max() - weights.min())
    for number, expected in enumerate(scaled):
        left = number * (3 * 10 + 5)
        square = pixels[:30, left : left + 30]
        assert square.shape == (30, 30, 4)
        np.testing.assert_allclose(
            square[5::10, 5::10, :3] / 255, expected.transpose(1, 2, 0), atol=0.5 / 255
        )
        assert (square == square[5::10, 5::10].repeat(10, 0).repeat(10, 1)).all()


def test_a_network_without_convolutions_has_a_page_too(tmp_path, data, monkeypatch):
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n"
        "def flat(*, image_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = {key: value for key, value in TINY.items() if not key.startswith("model.")}
    run = kilnet.train(data, "flat:flat", epochs=1, out=tmp_path / "run", settings=settings, progress=False)
    page = kilnet.report(run, data=data, progress=False).read_text("utf-8")
    assert "No heat maps: flat:flat" in page
    assert 'id="filters"' not in page
    assert "2,307 parameters" in page


def test_without_its_data_the_page_has_all_numbers_and_says_why_there_are_no_pictures(run, data):
    kilnet.evaluate(run, "validation", data=data, progress=False)
    page = kilnet.report(run, progress=False).read_text("utf-8")  # "ImageDataset" is no folder
    assert "No pictures of the data" in page
    assert "<img data-sheet" not in page
    assert "Confusion matrix" in page

    other = kilnet.ImageDataset("other", data.classes, data.train, noise(40, 9), data.test)
    page = kilnet.report(run, data=other, progress=False).read_text("utf-8")
    assert "not the images that" in page


def test_without_data_and_evaluation_the_result_is_that_of_the_best_epoch(run):
    page = kilnet.report(run, progress=False).read_text("utf-8")
    assert "of 40 <bdi>validation</bdi> images right" in page
    assert "Confusion matrix" not in page


def test_changed_weights_are_told(run, data, tmp_path):
    kilnet.evaluate(run, "validation", data=data, progress=False)
    other = kilnet.train(data, epochs=1, seed=5, out=tmp_path / "other", settings=TINY, progress=False)
    shutil.copy(other.files.weights_path, run)
    assert "The weights have changed" in kilnet.report(run, data=data, progress=False).read_text("utf-8")
