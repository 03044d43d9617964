"""What `evaluate` takes as data, and under which names it keeps what it finds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, recall_score

import kilnet
from digit_runs import digits
from kilnet.errors import DataError, InputError, StorageError
from kilnet.runs.evaluation import read_predictions

pytestmark = pytest.mark.usefixtures("no_figures")
CLASSES = ("blue <b>", "green", "red, dark")


@pytest.fixture
def folder(colour_run, tmp_path):
    return shutil.copytree(colour_run, tmp_path / "run")


def pictures(folder: Path, **counts: int) -> Path:
    """Make so many pictures of the classes that begin with these letters."""
    random = np.random.default_rng(1)
    for initial, num in counts.items():
        channel = "bgr".index(initial)
        (folder / CLASSES[channel]).mkdir(parents=True, exist_ok=True)
        for number in range(num):
            pixels = random.integers(0, 170, (20, 24, 3), np.uint8)
            pixels[:, :, 2 - channel] += 80
            Image.fromarray(pixels).save(folder / CLASSES[channel] / f"{number}.png")
    return folder


@pytest.mark.parametrize("verb", [kilnet.evaluate, kilnet.report])
def test_an_evaluation_without_its_pictures_is_not_kept(folder, verb):
    """Otherwise the same call again would find it and make no pictures."""
    shutil.rmtree(folder / "plots")
    (folder / "plots").write_text("in the way")
    with pytest.raises(StorageError):
        verb(folder, progress=False)
    assert not (folder / "evaluation.json").exists()
    (folder / "plots").unlink()
    verb(folder, progress=False)
    assert len(list((folder / "plots").glob("confusion-*.png"))) == 3
    assert (folder / "calibration.json").is_file()


@pytest.mark.parametrize(
    "counts", [{"b": 1, "g": 1, "r": 1}, {"b": 2, "g": 2, "r": 2}, {"g": 8}, {"r": 1}, {"b": 5, "r": 1}]
)
def test_any_number_of_pictures_of_any_of_the_classes_is_evaluated(folder, tmp_path, counts):
    data = pictures(tmp_path / "new", **counts)
    evaluation = kilnet.evaluate(folder, data=data, progress=False)
    assert (evaluation.split, evaluation.classes) == ("new all", CLASSES)
    assert evaluation.support.tolist() == [counts.get(initial, 0) for initial in "bgr"]
    assert evaluation.accuracy > 0.6


def test_split_folders_need_no_train_and_each_is_chosen_by_name(folder, tmp_path):
    data = tmp_path / "new"
    pictures(data / "Testing", g=3)
    pictures(data / "dev", b=2)
    for split, support in (("test", [0, 3, 0]), ("val", [2, 0, 0]), (None, [2, 3, 0])):
        assert kilnet.evaluate(folder, split, data=data, progress=False).support.tolist() == support
    with pytest.raises(DataError, match="new: has no train split; there is validation, test, all"):
        kilnet.evaluate(folder, "train", data=data, progress=False)


def test_an_unknown_class_is_one_line(folder, tmp_path):
    data = pictures(tmp_path / "new", g=1)
    (data / "yellow").mkdir()
    with pytest.raises(
        InputError, match="new: the network does not know yellow; it was trained on blue"
    ) as caught:
        kilnet.evaluate(folder, data=data, progress=False)
    assert "\n" not in str(caught.value)
    assert not (folder / "evaluation.json").exists()


def test_pictures_that_cannot_be_used_and_folders_without_any_are_refused(folder, tmp_path):
    data = pictures(tmp_path / "new", g=0)
    with pytest.raises(DataError, match="new: no usable image"):
        kilnet.evaluate(folder, data=data, progress=False)
    (data / "green" / "bad.png").write_text("words")
    with pytest.raises(DataError, match=r"1 file is no usable image, first green/bad\.png"):
        kilnet.evaluate(folder, data=data, progress=False)


def test_pairs_of_one_class_are_evaluated(folder):
    class Pairs(list):
        classes = CLASSES

    pairs = Pairs([(np.full((24, 24, 3), (40, 200, 40), np.uint8), 1)])
    assert kilnet.evaluate(folder, data=pairs, progress=False).support.tolist() == [0, 1, 0]


def test_data_of_one_name_in_two_folders_keeps_two_entries(folder, tmp_path, capfd):
    first, second = pictures(tmp_path / "a" / "new", g=2), pictures(tmp_path / "b" / "new", g=3)
    similar = pictures(tmp_path / "a" / "new-2", g=4)
    for data, entry in (
        (first, "new all"),
        (second, "new-2 all"),
        (similar, "new-2-2 all"),
        (second, "new-2 all"),
    ):
        assert kilnet.evaluate(folder, data=data).split == entry
    assert "new-2 all: new all has been evaluated in another folder" in capfd.readouterr().err
    entries = json.loads((folder / "evaluation.json").read_text())
    assert {
        name: (entry["num_images"], entry["num_reads"], entry["data"]) for name, entry in entries.items()
    } == {
        "new all": (2, 1, str(first)),
        "new-2 all": (3, 2, str(second)),
        "new-2-2 all": (4, 1, str(similar)),
    }
    for table, num in (("new-all", 2), ("new-2-all", 3), ("new-2-2-all", 4)):
        rows = (folder / f"evaluation-{table}" / "predictions.csv").read_text().splitlines()
        assert len(rows) == 1 + num


def test_names_that_make_the_same_file_name_keep_two_entries(folder, tmp_path):
    names = ["new (1)", "new [1]"]
    splits = [
        kilnet.evaluate(folder, data=pictures(tmp_path / name, g=1), progress=False).split for name in names
    ]
    assert splits == ["new (1) all", "new [1]-2 all"]


def test_the_runs_own_pictures_are_known_where_they_have_moved_and_only_a_part_was_trained_on(tmp_path):
    data = pictures(tmp_path / "new", b=8, g=8, r=8)
    settings = {"data.num_train": 7, "hardware.threads": 1, "hardware.precision": "fp32", "model.l1": 8}
    run = kilnet.train(data, epochs=1, out=tmp_path / "run", settings=settings, device="cpu", progress=False)
    moved = data.rename(tmp_path / "moved")
    assert kilnet.evaluate(run.folder, data=moved, progress=False).split == "test"
    pictures(moved, g=9)
    assert kilnet.evaluate(run.folder, data=moved, progress=False).split == "moved all"


@pytest.fixture
def run(digit_runs, tmp_path):
    return shutil.copytree(digit_runs / "a", tmp_path / "run")


def test_scores_are_those_of_scikit_learn_and_the_test_split_is_the_default(run):
    data = digits().test
    predicted = kilnet.load(run).logits(data.images).argmax(1)
    found = kilnet.evaluate(run, progress=False)
    assert found.split == "test"
    np.testing.assert_array_equal(found.confusion, confusion_matrix(data.labels, predicted))
    assert found.accuracy == (predicted == data.labels).mean()
    np.testing.assert_allclose(found.recall, recall_score(data.labels, predicted, average=None))


def test_each_reading_of_a_split_is_counted(run):
    for split in ("test", "val", "test"):
        kilnet.evaluate(run, split, progress=False)
    entries = json.loads((run / "evaluation.json").read_text())
    assert {name: entry["num_reads"] for name, entry in entries.items()} == {"test": 2, "validation": 1}
    plots = {path.name for path in (run / "plots").glob("*-test.png")}
    kinds = ("confusion-counts", "confusion-recall", "confusion-precision", "per-class")
    assert plots == {f"{kind}-test.png" for kind in kinds}


def test_other_data_is_evaluated_as_a_whole_under_its_own_name(run):
    data = digits()
    other = kilnet.ImageDataset("others", data.classes, data.validation, data.test, data.train)
    found = kilnet.evaluate(run, data=other, progress=False)
    assert (found.split, found.num_images) == (
        "others all",
        sum(map(len, (data.train, data.validation, data.test))),
    )
    assert list(json.loads((run / "evaluation.json").read_text())) == ["others all"]
    with pytest.raises(DataError, match="no split 'tset'"):
        kilnet.evaluate(run, "tset", progress=False)


def test_names_that_are_no_text_come_back_from_every_file(tmp_path, monkeypatch, command):
    """Latin-1 in the names of the data, a class and a file; and what else a name may hold."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "b\udce4ume"
    try:
        data.mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes only names that are text")
    pictures(data, b=6, g=6, r=6)
    (data / "green").rename(data / "\udcc4pfel")
    (data / "red, dark").rename(data / "two\nlines\x1b[31m")
    (data / "\udcc4pfel" / "0.png").rename(data / "\udcc4pfel" / "gr\udcfcn.png")
    settings = {
        "hardware.threads": 1,
        "hardware.precision": "fp32",
        "model.l1": 8,
        "model.c1": 4,
        "model.c2": 4,
    }
    run = kilnet.train(data, epochs=1, out="run", settings=settings, device="cpu", progress=False)
    classes = ("blue <b>", "two\nlines\x1b[31m", "\udcc4pfel")
    again = kilnet.Run("run")
    assert again.config == run.config
    assert again.config.data.source == str(data)
    assert kilnet.load("run").classes == classes
    assert tuple(again.environment["data"]["classes"]) == classes
    assert kilnet.train(data, recipe="run/config.toml", out="run", progress=False).finished

    for split in ("train", "validation", "test"):
        assert kilnet.evaluate("run", split, progress=False).classes == classes
    assert tuple(again.evaluations()["test"]["classes"]) == classes
    rows = [row for split in again.evaluations() for row in read_predictions(again.files, split)]
    names = [row.name for row in rows]
    assert sorted(names) == sorted(str(path.relative_to(data)) for path in data.glob("*/*.png"))
    assert all(Path(row.name).parts[0] == row.truth for row in rows)
    assert all((data / name).is_file() for name in names)

    shown = kilnet.evaluate("run", data=data, progress=False)
    assert shown.split == "test"
    split = next(
        split
        for split in again.evaluations()
        if any(row.name.endswith("gr\udcfcn.png") for row in read_predictions(again.files, split))
    )
    kilnet.inspect("run", count=2, image="\udcc4pfel/gr\udcfcn.png", split=split, progress=False)
    page = kilnet.report("run", progress=False).read_text("utf-8")
    assert "have changed since" not in page
    kilnet.export("run", "torch", progress=False)
    kilnet.finetune("run", epochs=1, settings=settings, progress=False)
    for words in (
        ["predict", "run", data, "--json"],
        ["data", data, "--json"],
        ["evaluate", "run", "--json"],
    ):
        code, out, err = command(*words)
        assert (code, err) == (0, "")
        for line in out.splitlines():
            json.loads(line)
    assert json.loads(command("data", data, "--json")[1])["classes"] == list(classes)
