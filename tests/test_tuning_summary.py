"""What is told of a search: the summary, its files, and which keys matter."""

import csv
import json

import pytest

import made_up_workers
from kilnet.tuning.summary import summarise, write_summary
from made_up_workers import (
    GRID,
    NUM_TRAIN,
    MadeUpWorkers,
    begin,
    config_of,
    loop_of,
    run,
)

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_json_and_csv_tell_the_same(tmp_path):
    workers = MadeUpWorkers(troubles={"trial 5": [(0, "failed")]})
    run(tmp_path, config_of(), workers=workers)
    summary = summarise(tmp_path)
    content = json.loads((tmp_path / "search.json").read_text())
    assert content == json.loads(json.dumps(summary.to_dict()))
    with (tmp_path / "search.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [row["number"] for row in content["trials"]]
    for told, row in zip(rows, content["trials"], strict=True):
        cells = {
            key: json.loads(told[key]) if told[key] else None for key in ("accuracy", "loss", "epochs", *GRID)
        }
        assert cells == {
            "accuracy": row["accuracy"],
            "loss": row["loss"],
            "epochs": row["num_epochs"],
            **row["values"],
        }
        assert (told["status"], told["reason"] or None) == (row["status"], row["reason"])
        interval = (told["accuracy_low"], told["accuracy_high"])
        assert interval == (
            tuple(map(str, row["accuracy_interval"])) if row["accuracy"] is not None else ("", "")
        )


def test_a_running_search_can_be_read_at_any_moment(tmp_path, no_importance):
    loop = loop_of(tmp_path, config_of(epochs=3), workers=MadeUpWorkers(2, {"trial 1": [(0, "failed")]}))
    begin(tmp_path, config_of(epochs=3))
    nothing = summarise(tmp_path)
    assert (nothing.trials, nothing.winner, nothing.is_complete) == ((), None, False)
    num_epochs = 0
    for event in loop:
        num_epochs += event.kind == "epoch"
        summary = summarise(tmp_path)
        trained = [row for row in summary.trials if row.accuracy is not None and row.status != "failed"]
        assert summary.num_image_passes + summary.num_finalist_image_passes == NUM_TRAIN * num_epochs
        assert len(summary.trials) == 9
        if trained:
            assert summary.winner is not None
            assert summary.winner_folder.is_dir()
        write_summary(summary)
        json.loads((tmp_path / "search.json").read_text())
    assert summarise(tmp_path).is_complete


def test_importance_names_the_key_that_matters(tmp_path, monkeypatch):
    """Accuracy that follows from c2 alone."""
    monkeypatch.setattr(
        made_up_workers, "luck", lambda options, *rest: dict(options)["c2"] / 24 + 0.001 * (rest[-2] % 7)
    )
    run(tmp_path, config_of(halving=False, num_seeds=0))
    importance = summarise(tmp_path).importance
    assert list(importance) == ["model.c2", "model.c1"]
    assert importance["model.c2"] > 0.9
    assert sum(importance.values()) == pytest.approx(1)


def test_the_range_of_an_importance_is_known_from_ten_trials(tmp_path, monkeypatch):
    """Accuracy follows from d1 alone; nine trials know nothing of how sure that is."""
    monkeypatch.setattr(made_up_workers, "luck", lambda options, *rest: dict(options)["d1"])
    steps = {"low": 0.1, "high": 0.7, "step": 0.1}
    space = {"model.d1": steps, "model.c1": [4, 8]}
    run(tmp_path / "many", config_of(space, halving=False, num_seeds=0, epochs=1))
    many = summarise(tmp_path / "many")
    assert len(many.trials) == 14
    low, high = many.importance_range["model.d1"]
    assert 0.7 < low <= high <= 1
    assert many.importance_range["model.c1"][1] < 0.3
    assert {number: len(history) for number, history in many.histories.items()} == dict.fromkeys(range(14), 1)
    run(tmp_path / "few", config_of(halving=False, num_seeds=0, epochs=1))
    few = summarise(tmp_path / "few")
    assert len(few.trials) == 9
    assert few.importance_range == {}


def test_importance_of_trials_that_are_all_alike_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(made_up_workers, "luck", lambda *things: 0.5)
    run(tmp_path, config_of(halving=False, num_seeds=0))
    assert summarise(tmp_path).importance == {}


@pytest.mark.parametrize(
    "space",
    [
        {"model.c1": [4], "model.c2": [4, 8, 12, 16]},
        {"model.d1": {"low": 0.1, "high": 0.7, "step": 0.1}},
        {"model.c1": [4, 8, 12], "model.c2": {"values": [4, 8], "when": {"model.c1": 4}}},
        {"model.d1": [0.0, 0.1], "optimizer.name": ["adam", "sgd"], "augment": ["none", "tutorial"]},
    ],
    ids=["single value", "steps", "condition", "words"],
)
def test_importance_of_other_spaces(tmp_path, space):
    run(tmp_path, config_of(space, halving=False, num_seeds=0, epochs=1))
    importance = summarise(tmp_path).importance
    assert sum(importance.values()) == pytest.approx(1)
