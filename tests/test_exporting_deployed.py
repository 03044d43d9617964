"""The network as it is exported."""

import dataclasses

import numpy as np
import pytest
import torch

from inspected import WithoutConvolution, built, classifier_of
from kilnet.config import ViewsConfig
from kilnet.errors import ModelError
from kilnet.exporting.deployed import Deployed, TorchFile, describe, write_torch
from kilnet.inference.calibration import Calibration
from kilnet.inference.unknown import KnownPictures

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnx_file = pytest.importorskip("kilnet.exporting.onnx_file")

RANDOM = np.random.default_rng(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "further", "power"),
    [
        ("ResNet", {"depth": 8, "width": 4}, {}, 1.0),
        (
            "FastNet",
            {"widths": [8, 12, 16], "output_scale": 5.0},
            {"mirror": True, "shift_px": 2, "margin": 0.3},
            0.75,
        ),
    ],
)
def test_networks_of_other_makes_and_all_their_views_are_exported(name, options, further, power):
    classifier = dataclasses.replace(built(name, **options), views=ViewsConfig(**further))
    images = RANDOM.integers(0, 256, (70, *classifier.image_shape), np.uint8)
    evidence = classifier.evidence(images)
    known = KnownPictures.fit(evidence)
    calibration = Calibration(1.3, None, 70, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, "", "", known, power)
    classifier = dataclasses.replace(classifier, calibration=calibration)
    expected = classifier.probabilities(images)
    if further:
        first = dataclasses.replace(classifier, views=ViewsConfig()).probabilities(images)
        changed = np.abs(expected - first).max(1) > 1e-5
        assert 0 < changed.sum() < len(images), "where the first look leaves doubt, and there alone"
    network, notes = Deployed(classifier), describe(classifier)
    content = onnx_file.write_onnx(network, classifier.image_shape, notes)
    probabilities, strange = onnx_file.OnnxFile(content, "x").answers(images)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(strange, known.strangeness(evidence), rtol=1e-3, atol=1e-3)
    small = onnx_file.quantise(content, images, notes)
    assert np.abs(onnx_file.OnnxFile(small, "x").answers(images)[0] - expected).mean() < 0.02
    program = TorchFile(write_torch(network, classifier.image_shape, notes))
    for found, theirs in zip(program.answers(images), (expected, strange), strict=True):
        np.testing.assert_allclose(found, theirs, atol=1e-4)


def test_a_network_for_batches_of_one_size_is_refused():
    class OneByOne(WithoutConvolution):
        def forward(self, x):
            return torch.cat([super(OneByOne, self).forward(image[None]) for image in x])

    classifier = classifier_of(OneByOne((3, 4, 4)), (3, 4, 4))
    for write in (onnx_file.write_onnx, write_torch):
        with pytest.raises(ModelError, match="cannot be exported"):
            write(Deployed(classifier), classifier.image_shape, {})
