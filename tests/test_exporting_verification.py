"""An exported file is kept only if it answers as Kilnet does."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.data.sources import load_dataset
from kilnet.errors import DataError, VerificationError
from kilnet.exporting import exported_file as exporting
from kilnet.exporting.deployed import Deployed, TorchFile
from kilnet.exporting.exported_file import readers
from kilnet.exporting.verification import Tolerance, Verification, verify
from kilnet.metrics.logits import softmax
from kilnet.recipes.reading import load_config

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnx_file = pytest.importorskip("kilnet.exporting.onnx_file")


@pytest.fixture
def run(exports):
    return exports["onnx"].path.parents[2]


@pytest.mark.parametrize("name", exporting.FORMATS)
def test_export_is_verified_on_the_validation_files(run, exports, name):
    made = exports[name]
    dataset = load_dataset(load_config(run / "config.toml").data)
    predictor = kilnet.load(run)
    content = made.path.read_bytes()
    split = dataset.validation
    exported = TorchFile(content) if name == "torch" else onnx_file.OnnxFile(content, "x")
    theirs, strange = exported.answers(dataset.validation.images)
    ours = predictor.probabilities(dataset.validation.images)
    unknown = [found.unknown for found in predictor.predictions(split.names, split.images)]
    own = predictor.known.strangeness(predictor.evidence(split.images))
    alike = int((((strange > predictor.unknown_above) == unknown) | (np.abs(strange - own) <= 0.01)).sum())
    assert made.verification.num_agreeing_unknown == alike
    assert made.verification.agreement_unknown == alike / len(split)
    assert name == "int8" or alike == len(split)
    assert made.verification.num_images == len(dataset.validation)
    assert made.verification.num_agreeing == (theirs.argmax(1) == ours.argmax(1)).sum()
    assert made.verification.num_correct_kilnet == (ours.argmax(1) == dataset.validation.labels).sum()
    assert made.verification.num_correct_export == (theirs.argmax(1) == dataset.validation.labels).sum()
    assert made.verification.largest_difference == pytest.approx(np.abs(theirs - ours).max(), abs=1e-6)
    if name != "int8":
        np.testing.assert_allclose(theirs, ours, atol=1e-5)
    assert exported.answers(dataset.validation.images[:1])[0].shape == (1, 3)
    many = exported.answers(np.tile(dataset.train.images, (3, 1, 1, 1)))
    assert [part.shape for part in many] == [(3 * len(dataset.train), 3), (3 * len(dataset.train),)]


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((1000, 1000, 0.0, 900, 900), None),
        ((1000, 999, 1e-3, 900, 899), None),
        ((1000, 998, 1e-4, 900, 900), "only 99.80%"),
        ((1000, 1000, 2e-3, 900, 900), "differs by 0.002"),
        ((1000, 1000, float("nan"), 900, 900), "differs by nan"),
        ((10, 10, 0.0, 9, 8), None),
        ((10, 10, 0.0, 9, 7), "falls by 20.00%"),
        ((1000, 1000, 0.0, 900, 940), None),
        ((1000, 1000, 0.0, 900, 900, 999), None),
        ((10, 10, 0.0, 9, 9, 9), None),
        ((1000, 1000, 0.0, 900, 900, 998), "0.20% of the images are unknown to one alone"),
    ],
)
def test_every_tolerance_can_be_breached(numbers, says):
    unknown = numbers[5] if len(numbers) > 5 else None
    tolerance = Tolerance(0.999, 1e-3, 0.005)
    breach = Verification(*numbers[:5], num_agreeing_unknown=unknown, tolerance=tolerance).breach()
    assert breach is None if says is None else says in breach


def test_a_file_that_answers_differently_is_deleted_and_refused(run, tmp_path, monkeypatch):
    class Shifted(Deployed):
        def forward(self, images):
            probabilities, strangeness = super().forward(images)
            return probabilities.roll(1, 1), strangeness

    monkeypatch.setattr(exporting, "Deployed", Shifted)
    out = tmp_path / "new" / "model.pt2"
    with pytest.raises(VerificationError, match=r"not exported: only \d+\.\d\d% of the images") as caught:
        kilnet.export(run, "torch", out=out, progress=False)
    assert str(out) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not out.parent.exists()


def test_pictures_without_files_are_verified_from_png_bytes(run):
    split = load_dataset(load_config(run / "config.toml").data).validation
    (first, *_), predictor = readers(split, None), kilnet.load(run)
    assert first().startswith(b"\x89PNG")

    def answers(images):
        strange = predictor.known.strangeness(predictor.evidence(images))
        return softmax(predictor.scale(predictor.logits(images))), strange

    found = verify(answers, predictor, readers(split, None), split.labels, Tolerance(1, 1e-6, 0))
    assert found.breach() is None
    assert found.num_agreeing_unknown == len(split)
    grey = kilnet.Split(split.images[:, :1], split.labels, split.names)
    with Image.open(io.BytesIO(readers(grey, None)[0]())) as picture:
        np.testing.assert_array_equal(np.asarray(picture), grey.images[0, 0])


def test_only_rounding_may_make_a_picture_unknown_to_one_alone(run):
    split = load_dataset(load_config(run / "config.toml").data).validation
    predictor = kilnet.load(run)

    def agreeing(moved):
        def answers(images):
            strange = predictor.known.strangeness(predictor.evidence(images))
            strange[np.abs(strange - predictor.unknown_above) < 1e-3] += moved
            return softmax(predictor.scale(predictor.logits(images))), strange

        return verify(answers, predictor, readers(split, None), split.labels, Tolerance(1, 1e-6, 0))

    assert agreeing(0.005).num_agreeing_unknown == len(split)
    assert agreeing(0.02).num_agreeing_unknown < len(split)


def test_the_verification_needs_the_images_of_the_training(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "run")
    text = (moved / "config.toml").read_text()
    pictures = shutil.copytree(load_config(moved / "config.toml").data.source, tmp_path / "pictures")
    next(pictures.rglob("*.png")).unlink()
    (moved / "config.toml").write_text(re.sub('source = ".*"', f'source = "{pictures}"', text))
    with pytest.raises(DataError, match="not the images"):
        kilnet.export(moved, progress=False)
