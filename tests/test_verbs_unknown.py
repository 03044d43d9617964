"""A run told what is like none of its classes."""

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.errors import DataError
from small_runs import make_dataset, train


@pytest.fixture(scope="module")
def run(tmp_path_factory, no_figures):
    return train(tmp_path_factory.mktemp("runs") / "run", **{"training.epochs": 4})


def test_unknown_pictures_are_measured_and_marked(run, tmp_path):
    random = np.random.default_rng(0)
    for number in range(12):
        pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.png").write_text("no picture")
    dataset = make_dataset()
    run.own_data(dataset)
    found = kilnet.measure_unknown(run, tmp_path, progress=False)
    assert (found.num_known, found.num_unknown) == (20, 12)
    assert 0 <= found.auroc <= 1
    predictions = kilnet.load(run)(sorted(str(path) for path in tmp_path.glob("[0-9]*.png")))
    assert sum(prediction.unknown for prediction in predictions) == found.num_unknown_found
    known = kilnet.load(run)(list(dataset.validation.images))
    assert sum(prediction.unknown for prediction in known) == found.num_known_refused <= 1


def test_a_folder_without_pictures_is_refused(run, tmp_path):
    run.own_data(make_dataset())
    with pytest.raises(DataError, match="no picture that can be used"):
        kilnet.measure_unknown(run, tmp_path, progress=False)
