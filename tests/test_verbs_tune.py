"""`kilnet.tune` as a user calls it, on the digits and on images in memory."""

import json
import shutil
import subprocess
import sys

import numpy as np
import optuna
import pytest

import kilnet
from digit_searches import SETTINGS, SPACE, number_of_reads, tune
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import ConfigError, RunFolderError, StorageError
from kilnet.training.run_folder import RunFolder


def never(*_, **__):
    raise AssertionError("nobody needs this")


def contents(folder):
    """Every file of the runs in a search, apart from what the clock and the process have written."""
    clocks = {"timing.csv", "environment.json", ".lock"}
    files = [*folder.glob("trials/**/*"), *folder.glob("finalists/**/*")]
    return {
        f.relative_to(folder): f.read_bytes()
        for f in files
        if f.is_file() and f.name not in clocks and "plots" not in f.parts
    }


def make_dataset(num_train=60):
    random = np.random.default_rng(0)

    def split(num_images):
        labels = np.arange(num_images) % 2
        images = random.integers(0, 150, (num_images, 1, 12, 12)) + 90 * labels[:, None, None, None]
        return Split(images.astype(np.uint8), labels, tuple(map(str, range(num_images))))

    return ImageDataset("made", ("dark", "light"), split(num_train), split(20), split(20))


def test_the_search_is_complete_and_its_winner_tested_once(search):
    summary = search.summary
    assert summary.is_complete
    assert [row.number for row in sorted(summary.trials, key=lambda row: row.number)] == [0, 1, 2, 3]
    assert sorted(row.num_epochs for row in summary.trials) == [1, 1, 2, 2]
    assert summary.num_image_passes == 6 * 600
    assert summary.num_finalist_image_passes == 2 * 600
    assert search.winner == summary.winner_folder == search.folder / f"finalists/{summary.winner:04}-seed-1"
    assert number_of_reads(search.winner) == 1
    assert list(json.loads((search.winner / "evaluation.json").read_text())) == ["test"]
    assert not list(search.folder.glob("trials/*/evaluation.json"))
    assert search.evaluation.accuracy > 0.3
    assert search.summary.seconds > 0
    assert not (search.folder / "images").exists()


def test_a_trial_is_a_run_like_any_other(search, tmp_path):
    """Training from its config.toml gives the same bytes."""
    finished = next(row for row in search.summary.trials if row.status == "finished")
    trial = RunFolder(search.folder / "trials" / f"{finished.number:04}")
    again = kilnet.train("digits", recipe=trial.config_path, out=tmp_path / "run", progress=False)
    for name in ("history.csv", "weights.safetensors"):
        assert (again.folder / name).read_bytes() == (trial.path / name).read_bytes()
    assert again.best.validation_accuracy == finished.accuracy


def test_the_same_call_again_trains_nothing_and_reads_no_test(search, monkeypatch):
    before = contents(search.folder)
    monkeypatch.setattr("kilnet.tuning.backends.processes.subprocess.Popen", never)
    monkeypatch.setattr("kilnet.verbs.tune.evaluate", never)
    again = tune(search.folder)
    assert contents(search.folder) == before
    assert again.evaluation.to_dict() == search.evaluation.to_dict()
    assert again.summary.to_dict() == search.summary.to_dict()
    assert number_of_reads(again.winner) == 1


def test_a_search_is_shown_with_its_test_and_what_was_found_without(search, capsys):
    kilnet.show(search)
    assert {"Trials", "read once", "Confusion matrix"} <= shown(capsys)
    kilnet.show(search.summary)
    assert shown(capsys) == {"Trials"}


def shown(capsys):
    printed = capsys.readouterr().out
    return {words for words in ("Trials", "read once", "Confusion matrix") if words in printed}


def test_optimize_is_the_search_alone(search, monkeypatch):
    monkeypatch.setattr(ImageDataset, "test", property(never))
    options = {"workers": 1, "finalists": 1, "seeds": 1, "epochs": 2, "device": "cpu", "progress": False}
    again = kilnet.HyperSearch("digits", SPACE, settings=SETTINGS, out=search.folder, **options).optimize()
    assert again == search.summary


@pytest.mark.slow
def test_two_workers_find_the_same(search, tmp_path):
    two = tune(tmp_path / "two", workers=2)
    assert contents(two.folder) == contents(search.folder)
    rows = [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in (*two.summary.to_dict()["trials"], *search.summary.to_dict()["trials"])
    ]
    assert rows[:4] == rows[4:]


@pytest.mark.slow
def test_left_in_the_middle_and_gone_on_with(search, tmp_path):
    """The same object, or the same call in another process: no matter."""
    options = {"workers": 1, "finalists": 1, "seeds": 1, "epochs": 2, "device": "cpu", "progress": False}
    half = kilnet.HyperSearch("digits", SPACE, settings=SETTINGS, out=tmp_path / "half", **options)
    for event in half:
        if event.kind == "epoch":
            break
    assert not half.summary().is_complete
    for event in half:
        if event.kind == "done":
            break
    tune(tmp_path / "half")
    assert contents(tmp_path / "half") == contents(search.folder)


def test_another_space_is_refused_with_the_difference(search):
    before = contents(search.folder)
    for options, told in [
        ({"space": {"model.c1": [4, 16], "model.d1": [0.0, 0.1]}}, r"space model.c1: \[4, 8\] -> \[4, 16\]"),
        ({"space": {"model.c1": [4, 8]}}, r"space model.d1: \[0.0, 0.1\] -> None"),
        ({"epochs": 3}, "training.epochs: 2 -> 3"),
        ({"seed": 5}, "seed: 0 -> 5"),
        ({"halving": False}, "halving: True -> False"),
        ({"strategy": "random"}, "strategy: grid -> random"),
    ]:
        with pytest.raises(RunFolderError, match=rf"holds another search \(.*{told}") as error:
            tune(search.folder, **options)
        assert "\n" not in str(error.value)
    assert contents(search.folder) == before


def test_a_space_of_tuples_is_the_same_search(search, monkeypatch):
    monkeypatch.setattr("kilnet.tuning.backends.processes.subprocess.Popen", never)
    again = tune(search.folder, space={key: tuple(values) for key, values in SPACE.items()})
    assert again.summary.is_complete


def test_another_order_is_the_same_search_in_the_order_it_was_begun_with(search, monkeypatch):
    before = contents(search.folder), (search.folder / "search.toml").read_bytes()
    monkeypatch.setattr("kilnet.tuning.backends.processes.subprocess.Popen", never)
    again = tune(search.folder, space=dict(reversed(SPACE.items())))
    assert again.summary.to_dict() == search.summary.to_dict()
    assert (contents(search.folder), (search.folder / "search.toml").read_bytes()) == before


def test_words_are_the_same_search(search, monkeypatch):
    monkeypatch.setattr("kilnet.tuning.backends.processes.subprocess.Popen", never)
    assert tune(search.folder, space=["model.c1=4,8", "model.d1=0.0,0.1"]).summary.is_complete


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"space": {"model.c3": [1]}}, "unknown key model.c3"),
        ({"space": {"model.c1": []}}, "the list is empty"),
        ({"space": {"model.kernel_size": [3, 5]}}, "needs images of at least 17x17"),
        ({"strategy": "clever"}, "`strategy='clever'`: input should be 'grid', 'random', 'effects' or 'tpe'"),
        ({"trials": 3, "strategy": "grid"}, "`trials=3`: a grid tries every combination"),
        ({"space": {"model.d1": {"low": 0.0, "high": 0.5}}, "strategy": "grid"}, "a range without a step"),
        ({"trials": 0, "strategy": "random"}, "`trials=0`: input should be greater than or equal to 1"),
        pytest.param({"workers": 0}, "`workers=0`: at least 1 is needed", marks=pytest.mark.timeout(60)),
        ({"gpus_per_trial": 0.5}, "^`gpus_per_trial=0.5`: only a `cluster` is asked for GPUs$"),
        (
            {"gpus_per_trial": 1.5},
            "^`gpus_per_trial=1.5`: must be above 0 and at most 1; a trial trains on one GPU$",
        ),
        ({"finalists": 0}, "`finalists=0`: "),
        ({"seeds": -1}, "`seeds=-1`: "),
        (
            {"space": None, "settings": {"model.name": "ResNet", "model.c2": None, "model.l1": None}},
            "no space for ResNet",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(tmp_path, options, told):
    with pytest.raises(ConfigError, match=told) as error:
        tune(tmp_path / "search", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "search").exists()


def test_a_storage_that_does_not_answer_leaves_nothing_behind(tmp_path):
    for url in (f"sqlite:///{tmp_path}/no/folder.sqlite3", "nonsense://x"):
        with pytest.raises(StorageError, match="check `storage`"):
            tune(tmp_path / "search", storage=url)
        assert not list(tmp_path.glob("search/trials/*"))
        assert not list(tmp_path.glob("**/*.tmp"))


def test_optuna_gets_a_copy_only_where_it_is_asked_for(search, tmp_path):
    assert not list(search.folder.glob("study*"))
    copy = shutil.copytree(search.folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock"))
    tune(copy, dashboard=True)
    tune(copy, storage=f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}")
    for file in (copy / "study.sqlite3", tmp_path / "elsewhere.sqlite3"):
        study = optuna.load_study(study_name="copy", storage=f"sqlite:///{file}")
        rows = sorted(search.summary.trials, key=lambda row: row.number)
        assert [trial.params for trial in study.trials] == [row.values for row in rows]
    with pytest.raises(ConfigError, match="`storage` and `dashboard` both"):
        tune(tmp_path / "both", dashboard=True, storage="sqlite:///x")
    assert not (tmp_path / "both").exists()


@pytest.mark.slow
def test_images_in_memory(tmp_path):
    dataset = make_dataset()
    settings = {"data.num_train": None, "training.batch_size": 20}
    options = {"space": {"model.c1": [2, 4]}, "settings": settings, "epochs": 1}
    search = tune(tmp_path / "search", dataset, **options)
    assert len(search.evaluation.classes) == 2
    assert number_of_reads(search.winner) == 1
    assert tune(tmp_path / "search", dataset, **options).summary.is_complete
    assert number_of_reads(search.winner) == 1
    with pytest.raises(RunFolderError, match="the data is not what this search was begun with"):
        tune(tmp_path / "search", make_dataset(80), **options)
    tuned = kilnet.finetune(search.folder, epochs=1, data=dataset, progress=False)
    assert tuned.folder == search.folder / "finetuned"
    (search.folder / "environment.json").unlink()
    with pytest.raises(RunFolderError, match=r"environment\.json: missing, so nobody knows with which data"):
        tune(tmp_path / "search", dataset, **options)
    with pytest.raises(ConfigError, match="not images in memory"):
        tune(tmp_path / "other", dataset, space={"data.num_train": [20, 40]})
    assert not (tmp_path / "other").exists()


def test_a_search_on_other_images_begins_in_a_folder_of_its_own(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    settings = SETTINGS | {"data.num_train": None}
    options = {"space": {"model.c1": [2, 4]}, "settings": settings, "epochs": 1, "workers": 1}
    names = [kilnet.HyperSearch(make_dataset(num), **options).folder.name for num in (60, 80, 60)]
    assert names[1:] == [f"{names[0]}-2", names[0]]
    assert capfd.readouterr().err.count(f"{names[0]} was begun with other images; a new search begins") == 1


@pytest.mark.slow
def test_sizes_of_images_and_of_the_data_are_searched_too(tmp_path):
    """Each trial has its own images; the winner's test is read once, at the winner's size."""
    space = {"data.image_size": [16, 20], "data.num_train": [100, 200]}
    settings = {"data.num_train": None}
    search = tune(tmp_path / "search", space=space, settings=settings, epochs=1)
    values = {row.number: row.values for row in search.summary.trials}
    assert search.summary.num_image_passes == sum(v["data.num_train"] for v in values.values())
    config = RunFolder(search.winner).config()
    assert config.data.image_size == values[search.summary.winner]["data.image_size"]
    assert number_of_reads(search.winner) == 1
    tune(tmp_path / "search", space=space, settings=settings, epochs=1)
    assert number_of_reads(search.winner) == 1


# --- afterwards


@pytest.mark.slow
def test_tuned_and_fine_tuned_in_one_call(search, tmp_path):
    copy = shutil.copytree(
        search.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("finetuned", ".lock")
    )
    tuned = tune(copy, finetune=True)
    assert tuned.winner == copy / "finetuned"
    assert number_of_reads(tuned.winner) == 1
    assert tune(copy, finetune=True).evaluation.to_dict() == tuned.evaluation.to_dict()
    assert number_of_reads(tuned.winner) == 1


# --- the command line


def kilnet_command(*words):
    return subprocess.run([sys.executable, "-m", "kilnet", *map(str, words)], capture_output=True, text=True)


def test_json_is_one_object_and_nothing_else(search, tmp_path):
    words = ["tune", "digits", "--out", search.folder, "--workers", 1, "--finalists", 1, "--seeds", 1]
    words += ["--epochs", 2, "--device", "cpu", "--json"]
    words += [
        word for key, values in SPACE.items() for word in ("--space", f"{key}={','.join(map(str, values))}")
    ]
    words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    tuned = kilnet_command(*words)
    assert tuned.returncode == 0, tuned.stderr
    content = json.loads(tuned.stdout)
    assert (content["winner"], content["is_complete"]) == (search.summary.winner, True)
    assert content["run"] == str(search.winner)
    assert content["test"]["accuracy"] == search.evaluation.accuracy
    assert tuned.stderr == ""


# --- tables


def test_a_search_has_no_budget(tmp_path):
    with pytest.raises(ConfigError, match=r"`epochs` and `trials`"):
        kilnet.HyperSearch(
            make_dataset(), {"model.c1": [4, 8]}, settings={"budget.seconds": 5}, out=tmp_path / "search"
        )
