"""The card beside an exported file, and the script on it."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import kilnet
from kilnet import cli
from kilnet.data.decode import to_input
from kilnet.exporting.deployed import Deployed, describe
from kilnet.exporting.model_card import script

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnx_file = pytest.importorskip("kilnet.exporting.onnx_file")

RANDOM = np.random.default_rng(0)


@pytest.fixture
def run(exports):
    return exports["onnx"].path.parents[2]


@pytest.fixture
def pictures(tmp_path):
    """A JPEG, a PNG, a palette, grey, 16 bits, transparency, an EXIF orientation, long and tall ones."""
    pixels = RANDOM.integers(0, 256, (7, 11, 3), np.uint8).repeat(9, 0).repeat(9, 1)
    pixels[:, :, 0] //= 3
    wide = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 8
    wide.save(tmp_path / "photo.jpg", quality=90)
    wide.save(tmp_path / "turned.jpg", exif=exif)
    wide.save(tmp_path / "plain.png")
    wide.quantize(12).save(tmp_path / "palette.png")
    wide.quantize(12).save(tmp_path / "holes.gif", transparency=3)
    wide.convert("L").save(tmp_path / "grey.png")
    wide.convert("1").save(tmp_path / "bits.png")
    Image.fromarray(pixels[:, :, 1].astype(np.uint16) * 250).save(tmp_path / "deep.png")
    alpha = wide.convert("RGBA")
    alpha.putalpha(Image.fromarray(pixels[:, :, 2]))
    alpha.save(tmp_path / "glass.png")
    wide.crop((0, 0, 99, 5)).save(tmp_path / "long.png")
    wide.crop((3, 0, 16, 62)).save(tmp_path / "tall.bmp")
    wide.resize((24, 24)).save(tmp_path / "exact.png")
    wide.resize((5, 4)).save(tmp_path / "tiny.png")
    return sorted(tmp_path.iterdir())


def by_class(ranked):
    return {entry["class"]: entry["probability"] for entry in ranked}


@pytest.mark.slow
def test_a_script_of_onnxruntime_numpy_and_pillow_gives_the_answers_of_kilnet_predict(
    run, exports, pictures, tmp_path, monkeypatch, capfd
):
    """The script is the one in the documents; torch and Kilnet are out of its reach."""
    program = tmp_path / "classify.py"
    program.write_text(script("pad"))
    (tmp_path / "kilnet.py").write_text("raise ImportError('out of reach')")
    (tmp_path / "torch.py").write_text("raise ImportError('out of reach')")
    done = subprocess.run(
        [sys.executable, program, exports["onnx"].path, *pictures],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    words = ["kilnet", "predict", str(run), *map(str, pictures), "--format", "jsonl", "--top", "9"]
    monkeypatch.setattr(sys, "argv", words)
    capfd.readouterr()
    with pytest.raises(SystemExit) as code:
        cli.main()
    ours = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert code.value.code == 0
    assert (
        [entry["file"] for entry in theirs] == [entry["file"] for entry in ours] == list(map(str, pictures))
    )
    for their, our in zip(theirs, ours, strict=True):
        assert their["classes"][0]["class"] == our["classes"][0]["class"], our["file"]
        assert their["unknown"] == our["unknown"]
        expected = by_class(our["classes"])
        assert by_class(their["classes"]) == pytest.approx(expected, abs=2e-6), our["file"]
    confidences = {entry["classes"][0]["probability"] for entry in ours}
    assert len(confidences) == len(pictures), "the pictures are told apart"


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the script is short, and soon over
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fitting", ["pad", "crop", "stretch"])
def test_the_script_makes_squares_as_kilnet_does(fitting, channels, pictures):
    text = script(fitting)
    known = {"channels": channels, "side": 24, "np": np, "Image": Image, "ImageOps": ImageOps}
    exec(text[text.index("def to_input") : text.index("for path in")], known)  # noqa: S102 the text that is shown
    for path in pictures:
        ours = to_input(path, (channels, 24, 24), fitting=fitting)
        np.testing.assert_array_equal(known["to_input"](path), ours, err_msg=path.name)


def test_documents_and_cards_show_the_script_that_is_tested(exports):
    page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    assert script("pad") in page
    assert script("pad") in exports["onnx"].path.with_name("README.md").read_text(encoding="utf-8")


def test_card_and_numbers_lie_beside_the_file(exports):
    made = exports["onnx"]
    card = made.path.with_name("README.md").read_text(encoding="utf-8")
    front = card.split("---\n")[1]
    entries = {key: json.loads(value) for key, value in re.findall(r"^(\w+): (.*)$", front, re.MULTILINE)}
    assert entries["sha256"] == made.sha256
    assert entries["file"] == "model.onnx"
    assert "blue \\<b\\>" in card
    assert "<b>" not in re.sub(r"```.*?```", "", card, flags=re.DOTALL).replace("\\<b\\>", "")
    kept = json.loads((made.path.parent / "model.proof.json").read_text())
    assert kept["sha256"] == made.sha256
    assert kept["proof"]["num_agreeing"] == made.verification.num_agreeing
    assert kept["proof"]["agreement"] == made.verification.agreement


def test_class_names_may_be_anything(run):
    predictor = kilnet.load(run)
    names = ('猫 \n"it\'s"', "\udcff not utf-8", "")
    renamed = dataclasses.replace(predictor, classes=names)
    content = onnx_file.write_onnx(Deployed(renamed), renamed.image_shape, describe(renamed))
    assert tuple(json.loads(onnx_file.OnnxFile(content, "x").notes["classes"])) == names
