"""A run as a classifier, from its folder or from what `train` returned."""

import shutil

import numpy as np
import pytest

import kilnet
from kilnet.errors import RunFolderError
from kilnet.metrics.logits import softmax
from kilnet.runs.run import opened


def test_the_classifier_has_the_weights_the_classes_and_the_calibration_of_the_run(colour_run):
    classifier = kilnet.load(colour_run)
    assert classifier.classes == ("blue <b>", "green", "red, dark")
    assert classifier.image_shape == (3, 24, 24)
    assert not classifier.model.training
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 24, 24), np.uint8)
    logits = classifier.logits(images)
    expected = softmax(classifier.scale(logits))
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-5)
    again = kilnet.load(opened(colour_run))
    np.testing.assert_array_equal(again.logits(images), logits)
    assert again.calibration == classifier.calibration


def test_folders_without_a_run_and_runs_without_weights_are_told_apart(colour_run, tmp_path):
    with pytest.raises(RunFolderError, match="no such run folder"):
        kilnet.load(tmp_path / "gone")
    with pytest.raises(RunFolderError, match=r"no run here \(no config.toml\)"):
        kilnet.load(tmp_path)
    run = shutil.copytree(colour_run, tmp_path / "run")
    (run / "weights.safetensors").unlink()
    with pytest.raises(RunFolderError, match=r"weights.safetensors: not there"):
        kilnet.load(run)
