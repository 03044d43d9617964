"""An exported file: what is in it and beside it."""

import json

import pytest

import kilnet
from kilnet.exporting import exported_file as exporting
from kilnet.exporting.deployed import TorchFile
from kilnet.metrics.logits import LogitScale

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnx_file = pytest.importorskip("kilnet.exporting.onnx_file")


@pytest.fixture
def run(exports):
    return exports["onnx"].path.parents[2]


@pytest.mark.parametrize("name", exporting.FORMATS)
def test_what_is_needed_is_inside_the_file_and_nothing_of_this_machine(run, exports, name):
    content = exports[name].path.read_bytes()
    notes = (TorchFile(content) if name == "torch" else onnx_file.OnnxFile(content, "x")).notes
    predictor = kilnet.load(run)
    assert tuple(json.loads(notes["classes"])) == predictor.classes
    assert (notes["channels"], notes["image_height"], notes["image_width"]) == ("3", "24", "24")
    assert LogitScale(float(notes["temperature"]), float(notes["power"])) == predictor.scale
    assert json.loads(notes["unsure_below"]) == predictor.calibration.threshold
    assert "bicubic" in notes["resize"]
    for trace in (b"site-packages", b"/kilnet/", str(run).encode()):
        assert trace not in content
    assert len(list(exports[name].path.parent.iterdir())) == 3  # file, numbers, card: one self-contained file
