"""Predictions as they are printed."""

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

import kilnet
from kilnet import cli


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
        assert (row["unknown"] == "unknown") == line["unknown"] == prediction.unknown


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
    names = f"\ufeff{pictures / 'a.jpg'}\n\n{pictures / 'b.png'}\r\n"  # as Windows writes lists
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
        "a\ufffdb.png: cannot be read: embedded null byte".encode(),
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
