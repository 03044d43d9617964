"""Every verb of the command line: what it prints, what it writes, and what it refuses in one line."""

import csv
import io
import json
import shutil
import sys

import filelock
import numpy as np
import pytest
import typer
from matplotlib.figure import Figure
from PIL import Image

from digits_words import DIGITS, one_object
from kilnet import cli
from kilnet.data import sources
from kilnet.recipes.reading import load_config

pytestmark = pytest.mark.usefixtures("no_figures")


SAVEFIG = Figure.savefig  # for the one test that looks at real ones


@pytest.fixture
def kilnet(command):
    return command


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["kilnet", *DIGITS, "--json", "--out", str(folder)])
        with pytest.raises(SystemExit) as done:
            cli.main()
    assert done.value.code == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def picture_folder(folder, classes, size=16):
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_train_prints_the_result_on_standard_output_and_progress_on_standard_error(kilnet, tmp_path):
    code, out, err = kilnet(*DIGITS, "--out", tmp_path / "run")
    assert code == 0
    assert "validation accuracy" in out
    assert f"kilnet evaluate {tmp_path / 'run'}" in out
    assert "200 images to train on" in err
    assert "warning" not in err.lower()


def test_train_json_is_one_object_and_agrees_with_the_files(kilnet, tmp_path):
    folder = tmp_path / "run"
    code, out, err = kilnet(*DIGITS, "--json", "--out", folder)
    assert (code, err) == (0, "")
    result = one_object(out)
    (epoch,) = rows(folder / "history.csv")
    assert result["run"] == str(folder)
    assert (result["num_epochs"], result["best_epoch"]) == (1, 1)
    assert float(epoch["validation_accuracy"]) == result["validation_accuracy"]
    assert float(epoch["validation_loss"]) == result["validation_loss"]
    low, high = result["validation_accuracy_interval"]
    assert low < result["validation_accuracy"] < high


def test_finished_run_is_not_trained_again(kilnet, run):
    before = (run / "weights.safetensors").read_bytes()
    code, _, err = kilnet(*DIGITS, "--out", run)
    assert code == 0
    assert "finished already" in err
    assert (run / "weights.safetensors").read_bytes() == before


def test_config_of_a_run_is_a_recipe_that_repeats_it(kilnet, finished, tmp_path):
    code, _, _ = kilnet(
        "train", "digits", "--recipe", finished / "config.toml", "--out", tmp_path / "again", "--json"
    )
    assert code == 0
    for name in ("config.toml", "history.csv", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes(), name


def test_evaluate_counts_how_often_a_split_was_read(kilnet, run):
    for num_reads in (1, 2, 3):
        code, _, err = kilnet("evaluate", run, "--json")
        assert (code, err) == (0, "")
        entries = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        assert entries["test"]["num_reads"] == num_reads
    assert kilnet("evaluate", run, "--split", "val", "--json")[0] == 0
    entries = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert {name: entry["num_reads"] for name, entry in entries.items()} == {"test": 3, "validation": 1}


def test_evaluate_agrees_with_its_own_files_and_with_training(kilnet, run):
    result = one_object(kilnet("evaluate", run, "--json")[1])
    predictions = rows(run / "evaluation-test" / "predictions.csv")
    assert result["num_images"] == len(predictions) == 359
    assert result["num_correct"] == sum(row["truth"] == row["predicted"] for row in predictions)
    assert result["accuracy"] == result["num_correct"] / 359
    validation = one_object(kilnet("evaluate", run, "--split", "validation", "--json")[1])
    (epoch,) = rows(run / "history.csv")
    assert validation["num_correct"] == int(epoch["num_validation_correct"])
    assert validation["loss"] == pytest.approx(float(epoch["validation_loss"]), rel=1e-5)


def test_evaluate_prints_a_report_and_draws(kilnet, run, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", SAVEFIG)
    code, out, _ = kilnet("evaluate", run)
    assert code == 0
    assert "accuracy" in out
    assert str(run) in out.replace("\n", "")
    for name in ("confusion-counts", "confusion-recall", "confusion-precision", "per-class"):
        with Image.open(run / "plots" / f"{name}-test.png") as picture:
            assert picture.width > 300


def test_pictures_in_folders(kilnet, refusal, tmp_path):
    run = tmp_path / "run"
    animals = picture_folder(tmp_path / "animals", ["cat", "cow", "dog"])
    code, out, err = kilnet("train", animals, *DIGITS[2:], "--out", run, "--json")
    assert (code, err) == (0, "")
    other = picture_folder(tmp_path / "other", ["dog", "cat"], size=20)
    code, out, err = kilnet("evaluate", run, "--data", other, "--json")
    assert (code, err) == (0, "")
    result = one_object(out)
    assert (result["classes"], result["num_images"]) == (["cat", "cow", "dog"], 20)
    assert [sum(row) for row in result["confusion"]] == [10, 0, 10]
    foreign = picture_folder(tmp_path / "foreign", ["dog", "bird"])
    code, err = refusal("evaluate", run, "--data", foreign, "--json")
    assert code == 2
    assert "does not know bird" in err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--set", "optimiser.lr=1"], "did you mean optimizer?"),
        (["--set", "training.lr=1"], "did you mean optimizer.lr?"),
        (["--set", "shift_px=1"], "shift_px may be augment.shift_px or views.shift_px; write the whole name"),
        (["--set", "optimizer.lr=fast"], "optimizer.lr = 'fast'"),
        (["--set", "lr"], "key=value"),
        (["--set", "model.c9=1"], "did you mean model.c"),
        (["--set", "no\nsuch=1"], "unknown key no such"),
        (["--epochs", "0"], "training.epochs = 0"),
        (["--seed", "-1"], "seed = -1"),
        (["--model", "ConfigNut"], "did you mean ConfigNet?"),
        (["--model", "no_such:net"], "No module named 'no_such'"),
        (["--recipe", "none.toml"], "none.toml: cannot be read"),
        (["--device", "gpu"], "device 'gpu' cannot be used here"),
        (["--image-size", "5"], "--image-size 9 or more"),
        (["--image-size", "0"], "data.image_size = 0"),
        (["--on-bad-image", "ask"], "data.on_bad_image = 'ask'"),
        (["--budget", "10"], "--budget 10: write a time with its unit, for example 90s, 10m or 1h30m"),
        (["--budget", "10m", "--epochs", "3"], "give one of them"),
        (["--budget", "10m", "--recipe", "none.toml"], "none.toml: cannot be read"),
        (
            ["--budget", "1s", "--set", "hardware.threads=1", "--set", "hardware.precision=fp32"],
            "too short: one pass over 1,295 images takes about",
        ),
    ],
)
def test_mistakes_in_training_are_one_line_and_leave_nothing(words, part, refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, err = refusal("train", "digits", "--json", *words)
    assert code == 2
    assert part in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "part"),
    [("digit", "did you mean digits?"), ("empty", "empty"), ("file", "a file, not a folder")],
)
def test_wrong_data_is_one_line(data, part, refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for words in (["train", data, "--json"], ["data", data, "--json"]):
        code, err = refusal(*words)
        assert code == 2
        assert part in err
    assert not (tmp_path / "runs").exists()


def test_out_that_is_another_run_or_no_folder(refusal, run, tmp_path):
    code, err = refusal(*DIGITS, "--json", "--seed", "9", "--out", run)
    assert code == 2
    assert "seed: 0 -> 9" in err
    (tmp_path / "file").touch()
    code, err = refusal(*DIGITS, "--json", "--out", tmp_path / "file" / "run")
    assert code == 2
    assert "choose another --out" in err


def test_evaluate_needs_a_run_with_weights(refusal, run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert refusal("evaluate", tmp_path / "gone") == (2, f"kilnet: {tmp_path / 'gone'}: no such run folder\n")
    assert refusal("evaluate", tmp_path / "empty") == (
        2,
        f"kilnet: {tmp_path / 'empty'}: no run here (no config.toml)\n",
    )
    code, err = refusal("evaluate", run, "--split", "tset", "--json")
    assert code == 2
    assert "train, validation, test and all" in err
    code, err = refusal("evaluate", run, "--data", "digit", "--json")
    assert (code, "did you mean digits?" in err) == (2, True)
    (run / "weights.safetensors").unlink()
    code, err = refusal("evaluate", run)
    assert code == 2
    assert "weights.safetensors: not there" in err
    (run / "config.toml").write_text("[model\n")
    code, err = refusal("evaluate", run)
    assert code == 2
    assert "config.toml: not a configuration" in err
    assert not (run / "evaluation.json").exists()


def test_own_data_that_has_changed_is_not_evaluated(refusal, run, monkeypatch):
    load = sources.load_digits

    def altered(config):
        dataset = load(config)
        dataset.train.images[0] ^= 1
        return dataset

    monkeypatch.setattr(sources, "load_digits", altered)
    code, err = refusal("evaluate", run, "--json")
    assert code == 2
    assert "not the images that" in err


def test_busy_run_folder(refusal, run):
    with filelock.FileLock(run / ".lock"):
        code, err = refusal("evaluate", run, "--json")
        assert code == 1
        assert "another process is writing this run" in err
        code, err = refusal(*DIGITS, "--json", "--out", run)
        assert code == 1


def test_data_shows_what_is_there(kilnet, tmp_path):
    code, out, err = kilnet("data", "digits", "--json")
    assert (code, err) == (0, "")
    inventory = one_object(out)
    counts = inventory["num_images"]
    assert sum(sum(counts[split].values()) for split in counts) == 1797
    assert inventory["classes"] == [str(n) for n in range(10)]
    code, out, err = kilnet("data", picture_folder(tmp_path / "pictures", ["cat", "dog"]))
    assert code == 0
    assert "cat" in out


def test_recipes_are_listed_and_printed(kilnet, refusal, tmp_path):
    code, out, err = kilnet("recipes")
    assert (code, err) == (0, "")
    assert "recipe  fast-94 " in out
    assert "space   wide " in out
    listed = one_object(kilnet("recipes", "--json")[1])["recipes"]
    assert len(listed) == len(out.splitlines()) - 1
    assert out.splitlines()[-1] == f"next: kilnet recipes {listed[0]['name']}"
    code, out, _ = kilnet("recipes", "fast-digits")
    (tmp_path / "mine.toml").write_text(out)
    assert load_config(tmp_path / "mine.toml") == load_config("fast-digits")
    assert one_object(kilnet("recipes", "fast-digits", "--json")[1])["text"] == out
    code, err = refusal("recipes", "fats")
    assert (code, "did you mean fast?" in err) == (2, True)


def test_settings_are_listed_and_searched(kilnet, refusal):
    code, out, err = kilnet("settings")
    assert (code, err) == (0, "")
    assert "optimizer.lr = 0.001  (number above 0)\n    the highest" in out
    assert "model.widths of FastNet = [64, 256, 256]" in out
    found = one_object(kilnet("settings", "FLIP", "--json")[1])["settings"]
    assert {"augment.vertical_flip", "augment.horizontal_flip"} <= {setting["key"] for setting in found}
    code, err = refusal("settings", "xyzzy")
    assert (code, "`kilnet settings` lists all" in err) == (2, True)


def test_doctor(kilnet, monkeypatch, tmp_path):
    code, out, err = kilnet("doctor")
    assert (code, err) == (0, "")
    assert "torch" in out
    assert "nothing is wrong" in out
    monkeypatch.setenv("KILNET_DATA", str(tmp_path / "gone"))
    code, out, err = kilnet("doctor", "--json")
    assert (code, err) == (1, "")
    assert len(one_object(out)["problems"]) == 1


# Every verb, each with a mistake that is its own.
MISTAKES = {
    "compare": (["gone", "gone"], "gone: no such run folder"),
    "data": (["gone"], "gone: no such folder"),
    "distill": (["gone"], "gone: no such run folder"),
    "doctor": (["everything"], "unexpected extra argument"),
    "evaluate": (["gone"], "gone: no such run folder"),
    "export": (["gone"], "gone: no such run folder"),
    "finetune": (["gone"], "gone: no such run folder"),
    "inspect": (["gone"], "gone: no such run folder"),
    "predict": (["gone", "cat.png"], "gone: no such run folder"),
    "promote": (["gone", "0"], "gone: no search here"),
    "recipes": (["fats"], "did you mean fast?"),
    "report": (["gone"], "gone: no such run folder"),
    "review": (["gone", "--port", "0"], "gone: no such run folder"),
    "runs": (["gone"], "gone: no such folder"),
    "serve": (["gone"], "gone: no such run folder"),
    "board": (["gone"], "gone: no such folder"),
    "settings": (["xyzzy"], "`kilnet settings` lists all"),
    "train": (["gone"], "gone: no such folder"),
    "tune": (["gone"], "gone: no such folder"),
}
COMMANDS = typer.main.get_command(cli.app).commands


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_verb_refuses_its_own_mistake_in_one_line_and_writes_nothing(
    refusal, verb, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words, part = MISTAKES[verb]
    code, err = refusal(verb, *words)
    assert code == 2
    assert part in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_help_of_every_verb_names_its_options_and_where_there_is_an_object_to_print(kilnet, verb):
    code, out, err = kilnet(verb, "--help")
    assert (code, err) == (0, "")
    options = {option for parameter in COMMANDS[verb].params for option in parameter.opts if option[0] == "-"}
    assert {option for option in options if option not in out} == set()
    assert "--json" in options
