"""Folds of a run: each image predicted by a network that has not seen it, by several processes, after any kill."""

import csv
import json

import numpy as np
import pytest

import kilnet
from digit_runs import SMALL
from kilnet.data.splits import folds
from kilnet.errors import ConfigError, InputError
from picture_folders import save_picture

pytestmark = pytest.mark.usefixtures("no_figures")
DIGITS = {**SMALL, "data.num_train": 200}


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def validated(tmp_path_factory, no_figures):
    out = tmp_path_factory.mktemp("runs") / "digits"
    return kilnet.cross_validate(
        "digits", folds=3, workers=1, epochs=2, settings=DIGITS, out=out, progress=False
    )


def test_every_training_image_is_predicted_by_a_network_that_has_not_seen_it(validated):
    run = kilnet.Run(validated.run)
    train = run.own_data().train
    table = rows(validated.predictions)
    fold_of = folds(train, 3, run.config.data.split_seed)
    for number in (1, 2, 3):
        files = run.files.fold(number, 3)
        assert files.environment()["data"]["num_train"] == int((fold_of != number - 1).sum())
        held = np.flatnonzero(fold_of == number - 1)
        answers = kilnet.load(files.path).predict(train.images[held])
        assert [table[index]["predicted"] for index in held] == answers
    assert sum(validated.num_correct) == sum(row["truth"] == row["predicted"] for row in table)


def test_the_same_call_trains_nothing_again(validated):
    weights = [validated.run / "folds" / f"{number}-of-3" / "weights.safetensors" for number in (1, 2, 3)]
    before = [path.stat().st_mtime_ns for path in weights]
    again = kilnet.cross_validate(
        "digits", folds=3, epochs=2, settings=DIGITS, out=validated.run, progress=False
    )
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert again.to_dict() == validated.to_dict()


def test_the_label_check_uses_the_same_networks(validated):
    weights = validated.run / "folds" / "1-of-3" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    found = kilnet.inspect(validated.run, num_folds=3, progress=False)
    assert weights.stat().st_mtime_ns == before
    assert found.num_labels_checked >= 200


def test_groups_are_respected(tmp_path):
    for patient in range(12):
        for number in range(4):
            save_picture(
                tmp_path / "photos" / ("ill" if patient % 2 else "well") / f"p{patient}_{number}.png", 16, 16
            )
    settings = {**SMALL, "data.group": r"(?P<group>p\d+)_"}
    found = kilnet.cross_validate(
        tmp_path / "photos",
        folds=3,
        workers=1,
        epochs=1,
        settings=settings,
        out=tmp_path / "run",
        progress=False,
    )
    fold_of_patient = {}
    for row in rows(found.predictions):
        patient = row["name"].split("/")[1].split("_")[0]
        assert fold_of_patient.setdefault(patient, row["fold"]) == row["fold"]


@pytest.mark.parametrize(("name", "value"), [("folds", 1), ("workers", 0)])
def test_what_cannot_be_is_refused_before_anything_is_trained(tmp_path, name, value):
    with pytest.raises(InputError, match=f"`{name}={value}`"):
        kilnet.cross_validate("digits", out=tmp_path / "run", progress=False, **{name: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"cluster": "127.0.0.1:1"}, r"^`cluster='127.0.0.1:1'`: nobody answers there"),
        (
            {"cluster": "auto", "budget": "1m"},
            "^`cluster='auto'`: a budget is one machine's time; give `epochs`",
        ),
        ({"wait": "1m"}, "^`wait='1m'`: only work on a `cluster` waits for machines$"),
    ],
)
def test_a_cluster_that_cannot_train_them_is_refused_before_anything_is_trained(
    tmp_path, monkeypatch, options, line
):
    monkeypatch.setattr("kilnet.tuning.backends.cluster.find_spec", lambda _: True)
    with pytest.raises(ConfigError, match=line):
        kilnet.cross_validate("digits", out=tmp_path / "run", progress=False, **options)
    assert not (tmp_path / "run").exists()


def test_a_cluster_without_folds_is_refused_in_the_words_of_the_command_line(command, tmp_path):
    code, _, err = command("train", "digits", "--cluster", "auto", "--out", tmp_path / "run")
    assert code == 2
    assert err == "kilnet: --cluster auto: one network trains on this machine; a cluster trains --folds\n"
    assert not (tmp_path / "run").exists()


def test_the_command_line_adds_them_to_its_answer(command, validated):
    words = [f"--set={key}={value}" for key, value in DIGITS.items()]
    code, out, _ = command(
        "train", "digits", "--epochs", 2, "--folds", 3, *words, "--out", validated.run, "--json"
    )
    assert code == 0
    assert json.loads(out)["cross_validation"]["pooled_accuracy"] == validated.evaluation.accuracy
    code, out, _ = command("train", "digits", "--epochs", 2, "--folds", 3, *words, "--out", validated.run)
    assert "3 folds: accuracy" in out
