import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import kilnet
from kilnet import cli
from kilnet.data.class_folders import Problem
from kilnet.data.decode import decode, fit, to_input, to_square
from kilnet.errors import DataError
from kilnet.inference import picture_files

RANDOM = np.random.default_rng(0)


@pytest.fixture
def pictures(tmp_path):
    """Pictures of every kind below a folder, in the order of their paths, and two files that are none."""
    folder = tmp_path / "new pictures"
    (folder / "deep" / "er").mkdir(parents=True)
    wide = Image.fromarray(RANDOM.integers(0, 256, (30, 50, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.save(folder / "a.jpg")
    wide.save(folder / "b.png", exif=exif)
    wide.convert("L").save(folder / "c.webp", lossless=True)
    wide.quantize(16).save(folder / "d.gif")
    (folder / "e.txt").write_text("no picture")
    wide.resize((21, 21)).save(folder / "deep" / "er" / "f.png")
    (folder / "z.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-200])
    return folder


@pytest.fixture
def command(monkeypatch, capfd):
    def call(*words, stdin=""):
        monkeypatch.setattr(sys, "argv", ["kilnet", "predict", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capfd.readouterr()
        with pytest.raises(SystemExit) as done:
            cli.main()
        return (done.value.code, *capfd.readouterr())

    return call


def expected(predictor, path):
    """Probabilities, class by class, from the parts that training is made of."""
    pixels = to_square(decode(path)[0], predictor.image_shape[1])
    logits = torch.from_numpy(predictor.logits(pixels[None])).double()
    return torch.softmax(logits / predictor.calibration.temperature, 1)[0].numpy()


def test_a_file_is_seen_as_training_saw_it(predictor, pictures):
    for name in ("a.jpg", "b.png", "c.webp", "d.gif", "deep/er/f.png"):
        prediction = predictor(pictures / name)
        by_class = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        probabilities = [by_class[name] for name in predictor.classes]
        np.testing.assert_allclose(probabilities, expected(predictor, pictures / name), rtol=1e-9)
        assert prediction.probabilities == tuple(sorted(probabilities, reverse=True))
        assert (prediction.label, prediction.confidence) == (prediction.classes[0], max(probabilities))
        assert sum(probabilities) == pytest.approx(1)
        assert prediction.unsure == (prediction.confidence < predictor.calibration.threshold)


def test_the_training_pictures_are_recognised(predictor, colour_run):
    folder = colour_run.parent / "pictures"
    results = list(kilnet.predict(predictor, [folder]))
    assert [result.name for result in results] == sorted(str(path) for path in folder.rglob("*.png"))
    assert np.mean([f"/{result.label}/" in result.name for result in results]) > 0.9


def test_paths_pictures_and_arrays_are_the_same_picture(predictor, pictures):
    path = pictures / "b.png"
    picture = Image.open(path)
    upright = np.asarray(ImageOps.exif_transpose(picture))
    tensor = torch.from_numpy(upright.transpose(2, 0, 1).copy())
    ways = [str(path), picture, upright, tensor, upright.astype(np.float64) / 255]
    first, *others = predictor([path, *ways])
    assert first.name == str(path)
    for other in others:
        np.testing.assert_allclose(other.probabilities, first.probabilities, rtol=1e-5)
    np.testing.assert_allclose(predictor(picture).probabilities, first.probabilities, rtol=1e-5)
    batch = predictor(np.stack([upright, upright]))
    assert [p.label for p in batch] == [first.label] * 2
    assert predictor([]) == []


def test_probabilities_are_calibrated_and_classes_as_before(predictor):
    images = RANDOM.integers(0, 256, (5, *predictor.image_shape), np.uint8)
    scaled = torch.from_numpy(predictor.logits(images)) / predictor.calibration.temperature
    np.testing.assert_allclose(predictor.probabilities(images), torch.softmax(scaled, 1), rtol=1e-5)
    assert predictor.predict(images) == [p.label for p in predictor(list(images))]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        ("gone.png", "gone.png: cannot be read"),
        (np.zeros((4, 4, 7), np.uint8), "picture 0: shape"),
        (np.full((4, 4), 3.0), "picture 0: pixels from 3 to 3"),
        (7, "picture 0"),
    ],
)
def test_what_is_no_picture_is_named(predictor, picture, reason):
    with pytest.raises(DataError, match=reason):
        predictor(picture)


def test_cut_file_opened_by_pillow_is_refused(predictor, pictures):
    with (
        Image.open(pictures / "z.jpg") as picture,
        pytest.raises(DataError, match="picture 1: damaged or cut short"),
    ):
        predictor([pictures / "a.jpg", picture])


def test_colour_becomes_grey_by_luma_and_grey_stays_exact():
    grey = RANDOM.integers(0, 256, (9, 9, 1), np.uint8)
    np.testing.assert_array_equal(fit(np.repeat(grey, 3, 2), (1, 9, 9)), grey.transpose(2, 0, 1))
    np.testing.assert_array_equal(fit(grey, (3, 9, 9)), np.repeat(grey, 3, 2).transpose(2, 0, 1))
    colour = RANDOM.integers(0, 256, (9, 9, 3), np.uint8)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(fit(colour, (1, 9, 9))[0] - luma).max() <= 0.51


def test_networks_of_oblong_pictures_take_no_others():
    oblong = np.zeros((4, 6, 3), np.uint8)
    assert to_input(oblong, (3, 4, 6)).shape == (3, 4, 6)
    with pytest.raises(DataError, match="6x4 pixels, this one has 4x4"):
        to_input(oblong[:, :4], (3, 4, 6))


def test_batches_give_what_single_files_give_in_order(predictor, pictures, monkeypatch):
    monkeypatch.setattr(picture_files, "_FILES_PER_BATCH", 3)
    results = list(
        kilnet.predict(predictor, [pictures / "a.jpg", pictures, pictures / "gone", pictures / "b.png"])
    )
    names = ["a.jpg", "a.jpg", "b.png", "c.webp", "d.gif", "e.txt", "z.jpg", "gone", "b.png"]
    walked = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*") if p.is_file())
    shown = [os.path.relpath(r.path if isinstance(r, Problem) else r.name, pictures) for r in results]
    assert sorted(shown) == sorted(["a.jpg", *walked, "gone", "b.png"])
    assert [name for name in shown if "/" not in name] == names
    for result in results:
        if not isinstance(result, Problem):
            single = predictor(result.name)
            np.testing.assert_allclose(result.probabilities, single.probabilities, rtol=1e-4, atol=1e-7)
    assert {Path(r.path).name for r in results if isinstance(r, Problem)} == {"e.txt", "z.jpg", "gone"}


def test_paths_are_read_as_they_are_needed(predictor, pictures):
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield pictures / "a.jpg"

    results = kilnet.predict(predictor, endless())
    for _ in range(10):
        next(results)
    results.close()
    assert asked < 2000


def test_csv_jsonl_and_json_say_the_same(command, colour_run, pictures, predictor):
    good = [pictures / "a.jpg", pictures / "b.png"]
    code, out, err = command(colour_run, *good, "--format", "csv", "--top", 2, "--unsure")
    assert (code, err) == (0, "")
    table = list(csv.DictReader(io.StringIO(out)))
    code, out, err = command(colour_run, *good, "--format", "jsonl", "--top", 2, "--unsure")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    code, out, err = command(colour_run, *good, "--json", "--top", 2, "--unsure")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"predictions": lines, "unusable": []}
    for row, line, path in zip(table, lines, good, strict=True):
        prediction = predictor(path)
        assert row["file"] == line["file"] == str(path)
        assert [c["class"] for c in line["classes"]] == [row["class_1"], row["class_2"]]
        assert [row["class_1"], row["class_2"]] == list(prediction.classes[:2])
        assert float(row["probability_2"]) == line["classes"][1]["probability"]
        assert line["classes"][0]["probability"] == pytest.approx(prediction.confidence, abs=1e-6)
        assert (row["unsure"] == "unsure") == line["unsure"] == prediction.unsure


def test_unusable_files_are_listed_and_do_not_stop_the_others(command, colour_run, pictures):
    code, out, err = command(colour_run, pictures, "--format", "csv")
    assert code == 1
    assert len(out.splitlines()) == 1 + 5
    lines = err.splitlines()
    assert [Path(line.split(": ")[0]).name for line in lines[:2]] == ["e.txt", "z.jpg"]
    assert "no image in one of the formats" in lines[0]
    assert lines[2] == "2 files could not be used"
    code, out, err = command(colour_run, pictures, "--json")
    assert (code, err) == (1, "")
    assert [Path(p["path"]).name for p in json.loads(out)["unusable"]] == ["e.txt", "z.jpg"]


def test_table_and_paths_from_standard_input(command, colour_run, pictures):
    names = f"{pictures / 'a.jpg'}\n\n{pictures / 'b.png'}\r\n"
    code, out, err = command(colour_run, "-", "--unsure", stdin=names)
    assert (code, err) == (0, "")
    assert "a.jpg" in out
    assert "b.png" in out
    assert len([line for line in out.splitlines() if ".png" in line or ".jpg" in line]) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_names_that_are_no_text_come_through_a_pipe(colour_run, pictures):
    name = os.fsencode(pictures) + b"/\xff.jpg"
    shutil.copy(pictures / "a.jpg", name)
    words = [sys.executable, "-m", "kilnet", "predict", str(colour_run), "-", "--format", "jsonl"]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as in most people's terminals
    done = subprocess.run(words, input=name + b"\na\0b.png\n", capture_output=True, env=strict)
    assert json.loads(done.stdout)["file"] == os.fsdecode(name)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        b"a\0b.png: cannot be read: embedded null byte",
        b"1 file could not be used",
    ]


def test_a_folder_without_files_is_told(command, colour_run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = command(colour_run, tmp_path / "empty", "--format", "jsonl")
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == f"{tmp_path / 'empty'}: a folder without files"


def test_run_without_calibration_says_so_and_marks_nothing(command, colour_run, pictures, tmp_path):
    run = shutil.copytree(colour_run, tmp_path / "run")
    (run / "calibration.json").unlink()
    code, out, err = command(run, pictures / "a.jpg", "--format", "jsonl", "--unsure")
    assert code == 0
    assert "not calibrated" in err
    assert json.loads(out)["unsure"] is None


def test_run_of_a_larger_machine_with_another_device_is_used_on_this_one(colour_run, pictures, tmp_path):
    run = shutil.copytree(colour_run, tmp_path / "run")
    config = (run / "config.toml").read_text()
    for mine, theirs in {'device = "cpu"': 'device = "cuda:7"', "threads = 1": "threads = 4096"}.items():
        assert mine in config
        config = config.replace(mine, theirs)
    (run / "config.toml").write_text(config)
    moved = kilnet.load(run)
    moved.settings.apply()
    assert moved.settings.threads <= 4096 // 8
    expected = kilnet.load(colour_run)(pictures / "a.jpg")
    np.testing.assert_allclose(moved(pictures / "a.jpg").probabilities, expected.probabilities, rtol=1e-4)


def test_one_file_from_a_cold_start_imports_little(colour_run, pictures):
    code = (
        "import sys\nsys.argv = ['kilnet', 'predict', *sys.argv[1:]]\n"
        "import atexit\n"
        "heavy = ('matplotlib', 'sklearn', 'scipy', 'pandas', 'onnxruntime', 'optuna', 'torch._dynamo')\n"
        "atexit.register(lambda: print('imported:', [name for name in heavy if name in sys.modules]))\n"
        "from kilnet.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, colour_run, pictures / "a.jpg"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "imported: []" in done.stdout
