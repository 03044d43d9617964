"""A run that is opened once: what is read of it, how often, and what is kept."""

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import kilnet
from kilnet.data import sources
from kilnet.errors import DataError, DivergedError, KilnetError, RunFolderError
from kilnet.inference import classifier
from kilnet.runs import run as runs
from kilnet.runs.run import opened

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture
def folder(colour_run, tmp_path):
    return shutil.copytree(colour_run, tmp_path / "run")


@pytest.fixture
def reads(monkeypatch):
    """How often each file of tensors and each folder of pictures is read, and each split evaluated."""
    counts = Counter()

    def counted(module, name, what):
        function = getattr(module, name)

        def count(*arguments, **options):
            counts[what(*arguments)] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    counted(classifier, "read_tensors", lambda path, *_: path.name)
    counted(sources, "load_folder", lambda *_: "data")
    counted(runs, "evaluate_classifier", lambda classifier, dataset, split: split)
    return counts


def test_a_run_reads_nothing_before_it_is_asked(folder, reads):
    run = kilnet.Run(folder)
    assert run.folder == folder
    assert Path(run.config.data.source).name == "pictures"
    assert run.best.epoch <= run.history[-1].epoch
    assert run.num_validation == run.best.num_validation > 0
    assert not reads


def test_a_report_reads_weights_and_data_once(folder, reads):
    for evaluated in (False, True):  # it evaluates only where nothing has been evaluated
        reads.clear()
        kilnet.report(folder, progress=False)
        assert reads == {"weights.safetensors": 1, "data": 1} | ({} if evaluated else {"validation": 1})
        (folder / "calibration.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("verb", "split"),
    [
        (lambda run: kilnet.evaluate(run, progress=False), "test"),
        (lambda run: kilnet.evaluate(run, "val", progress=False), "validation"),
        (lambda run: kilnet.inspect(run, count=2, progress=False), "validation"),
        (lambda run: kilnet.plots.label_errors(run), "validation"),
    ],
)
def test_a_verb_reads_weights_and_data_once(folder, reads, verb, split):
    (folder / "calibration.json").unlink()
    verb(folder)
    assert reads == {"weights.safetensors": 1, "data": 1, split: 1}


def test_two_runs_are_compared_with_their_data_read_once(folder, reads, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    kilnet.compare(folder, other, progress=False)
    assert reads == {"weights.safetensors": 2, "data": 1, "validation": 2}


def test_a_run_keeps_what_was_read(folder, reads):
    run = kilnet.Run(folder)
    evaluation = kilnet.evaluate(run, "validation", progress=False)
    kilnet.report(run, progress=False)
    kilnet.plots.sample_predictions(run)
    kilnet.plots.filters(run)
    classifier = kilnet.load(run)
    assert reads == {"weights.safetensors": 1, "data": 1, "validation": 1}
    assert classifier.calibration is not None
    validation = run.own_data().validation
    predicted = classifier.logits(validation.images).argmax(1)
    assert (predicted == validation.labels).sum() == evaluation.num_correct


def test_the_test_split_is_counted_each_time_that_it_is_shown(folder, reads):
    run = kilnet.Run(folder)
    kilnet.plots.sample_predictions(run, split="test")
    kilnet.plots.confident_mistakes(run, split="test")
    assert run.evaluations()["test"]["num_reads"] == 2
    assert reads["test"] == 1


def test_other_data_is_neither_kept_nor_taken_for_the_runs_own(folder, reads):
    run = kilnet.Run(folder)
    own = run.own_data()
    train = own.train.take(np.arange(30))
    other = kilnet.ImageDataset("other", own.classes, train, own.validation, own.test)
    assert kilnet.evaluate(run, data=other, progress=False).split == "other all"
    assert run.own_data() is own
    assert reads["data"] == 1
    with pytest.raises(DataError, match="not the images that"):
        run.own_data(other)
    assert run.own_data() is own


def test_a_run_in_a_folder_is_the_one_that_train_returned(folder, tmp_path):
    trained = kilnet.train(
        recipe=folder / "config.toml",
        data=kilnet.Run(folder).config.data.source,
        out=tmp_path / "a",
        progress=False,
    )
    again = kilnet.Run(tmp_path / "a")
    assert (again.config, again.history, again.best) == (trained.config, trained.history, trained.best)
    assert again.finished
    assert trained.finished
    (tmp_path / "a" / "state" / "state.safetensors").unlink()
    assert not kilnet.Run(tmp_path / "a").finished


def test_a_run_is_taken_as_it_is_and_its_own_network_may_be_named_later(folder):
    run = kilnet.Run(folder)
    assert opened(run) is run
    assert opened(folder).folder == folder
    assert "mine:net" in opened(run, "mine:net").own_models
    with pytest.raises(RunFolderError, match="no such run folder"):
        _ = kilnet.Run(folder / "gone").config


def test_a_calibration_is_of_the_weights_that_were_loaded_not_of_those_written_since(folder):
    run = opened(folder)
    loaded = runs.file_digest(run.files.weights_path)
    classifier.save_classifier(run.files.weights_path, run.classifier, {"epoch": 99})
    run.files.calibration_path.unlink(missing_ok=True)
    fitted = run.calibrate(run.own_data())
    assert fitted.weights == loaded != runs.file_digest(run.files.weights_path)
    assert opened(folder).calibrated_classifier().calibration is None


@pytest.fixture
def moved(folder, colour_run):
    """The run, as if its pictures had lain elsewhere, and where they are now."""
    config = folder / "config.toml"
    pictures = colour_run.parent / "pictures"
    config.write_text(config.read_text().replace(str(pictures), "/gone/photos"))
    return folder, pictures


VERBS = {
    "evaluate": [],
    "inspect": ["--count", 2],
    "export": ["--format", "torch"],
    "finetune": ["--epochs", 1, "--out", "tuned"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_where_pictures_have_moved_the_advice_can_be_followed_with_the_same_verb(
    moved, verb, command, refusal, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run, pictures = moved
    words = [verb, run, *VERBS[verb], "--json"]
    code, err = refusal(*words)
    assert code == 2
    fact = f"/gone/photos: no such folder, and {run} was trained on it"
    assert err == f"kilnet: {fact}; if it has moved, give it as --data\n"
    code, out, err = command(*words, "--data", pictures)
    assert (code, err) == (0, "")
    assert json.loads(out).get("split") == {"evaluate": "test", "inspect": "validation"}.get(verb)
    if verb == "finetune":
        assert kilnet.Run(tmp_path / "tuned").config.data.source == str(pictures)


def test_a_report_does_without_pictures_that_have_moved_and_shows_those_that_it_is_given(moved, command):
    run, pictures = moved
    command("evaluate", run, "--data", pictures)
    assert command("report", run, "--json")[0] == 0
    assert "No pictures of the data" in (run / "report.html").read_text("utf-8")
    assert command("report", run, "--data", pictures, "--json")[0] == 0
    assert "No pictures of the data" not in (run / "report.html").read_text("utf-8")


def test_other_pictures_than_those_of_the_training_are_refused_with_advice(moved, command, refusal, tmp_path):
    run, pictures = moved
    grown = shutil.copytree(pictures, tmp_path / "grown")
    shutil.copy(grown / "green" / "0.png", grown / "green" / "new.png")
    code, err = refusal("export", run, "--data", grown, "--json")
    assert code == 2
    assert f"not the images that {run} was trained on" in err
    assert err.endswith("give those as --data, or train again\n")
    code, _, err = command("finetune", run, "--data", grown, "--epochs", 1, "--out", tmp_path / "tuned")
    assert code == 0
    assert f"warning: these are not the images that {run} was trained on" in err


def flip(path, chance):
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def replace_by(path, make):
    path.unlink()
    make(path)


DAMAGE = {
    "flipped": flip,
    "flipped once more": flip,
    "cut": lambda path, chance: path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)]),
    "zeroed": lambda path, _: path.write_bytes(bytes(path.stat().st_size)),
    "emptied": lambda path, _: path.write_bytes(b""),
    "deleted": lambda path, _: path.unlink(),
    "a folder": lambda path, _: replace_by(path, Path.mkdir),
    "a link": lambda path, _: path.rename(path.with_name("x")) and path.symlink_to(path.with_name("x")),
    "a pipe": lambda path, _: replace_by(path, os.mkfifo),
    "nested": lambda path, _: path.write_text("a = " * path.name.endswith("toml") + "[" * 5000),
    "another form": lambda path, _: path.write_text('{"test": 1, "data": [], "settings": 2, "values": 3}'),
    "a long key": lambda path, _: path.write_text("a." * 50_000 + "a = 1"),
}
# Nothing is lost with these: the state has the epochs, and calibration and evaluations are made again.
SPARE = {"history.csv", "state/state.safetensors", "calibration.json", "evaluation.json"}


def numbers_of(folder):
    """What is read of a run: what it says of pictures, its epochs, its evaluations, and its data."""
    run = kilnet.Run(folder)
    images = np.random.default_rng(0).integers(0, 255, (4, *kilnet.load(run).image_shape), np.uint8)
    logits = run.classifier.logits(images).tolist()
    return logits, run.history, run.evaluations(), run.files.fingerprint(), run.files.config().seed


@pytest.fixture(scope="module")
def evaluated(colour_run, tmp_path_factory):
    folder = shutil.copytree(colour_run, tmp_path_factory.mktemp("evaluated") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
        kilnet.evaluate(folder, progress=False)
    return folder


@pytest.mark.timeout(60)
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "name", ["config.toml", "environment.json", "weights.safetensors", *sorted(SPARE), "timing.csv"]
)
def test_a_damaged_file_gives_the_same_numbers_or_one_line_that_names_it(evaluated, tmp_path, name, damage):
    expected = numbers_of(evaluated)
    folder = shutil.copytree(evaluated, tmp_path / "run")
    DAMAGE[damage](folder / name, random.Random(name + damage))
    found, line = None, f"{name.rpartition('/')[2]}: "
    try:
        found = numbers_of(folder)
    except KilnetError as error:
        line = str(error)
    if damage == "deleted" and name == "evaluation.json":
        expected = (*expected[:2], {}, *expected[3:])
    if damage == "deleted" and name == "environment.json":
        expected = (*expected[:3], None, expected[4])
    assert found in (None, expected)
    assert name.rpartition("/")[2] in line
    assert "\n" not in line


def test_a_config_that_is_empty_does_not_stand_for_cifar10(folder):
    (folder / "config.toml").write_text("")
    with pytest.raises(RunFolderError, match=r"config\.toml: not a configuration .*data\.source is missing"):
        kilnet.evaluate(folder, progress=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_answers_nan_is_one_error_in_every_verb(folder, value):
    loaded = kilnet.Run(folder).classifier
    for parameter in loaded.model.parameters():
        parameter.data.fill_(value)
    classifier.save_classifier(folder / "weights.safetensors", loaded, {})
    picture = next(Path(kilnet.Run(folder).config.data.source).glob("*/*.png"))
    for verb in (
        lambda: kilnet.load(folder)(picture),
        lambda: list(kilnet.predict(folder, [picture])),
        lambda: kilnet.evaluate(folder, progress=False),
        lambda: kilnet.inspect(folder, count=1, progress=False),
        lambda: kilnet.export(folder, "torch", progress=False),
    ):
        with pytest.raises(DivergedError, match="the network's output is NaN or infinite for"):
            verb()


def test_what_is_evaluated_is_what_answers_later(folder):
    """A run that was trained in bf16 is used in fp32 by every verb."""
    config = folder / "config.toml"
    config.write_text(config.read_text().replace('precision = "fp32"', 'precision = "bf16"'))
    run = kilnet.Run(folder)
    assert run.config.hardware.precision == "bf16"
    assert run.classifier.settings.precision == kilnet.load(run).settings.precision == "fp32"
    images = run.own_data().validation.images
    np.testing.assert_array_equal(run.evaluated("validation").logits, kilnet.load(run).logits(images))


def test_parts_of_a_run_that_are_links_are_refused_and_left(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    for name in ("plots", "evaluation-test", "exports", "folds", "state"):
        copy = shutil.copytree(folder, tmp_path / name)
        shutil.rmtree(copy / name, ignore_errors=True)
        (copy / name).symlink_to(elsewhere)
        with pytest.raises(RunFolderError, match=f"{name}: a link"):
            kilnet.evaluate(copy, progress=False)
            kilnet.Run(copy).files.export_path("torch", "model.pt2")
            kilnet.Run(copy).files.fold(1, 2)
        assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    (tmp_path / "link").symlink_to(folder)
    assert kilnet.evaluate(tmp_path / "link", progress=False).num_images > 0
