"""The search itself, with workers that make up their records: what is trained, in which order, retried and kept."""

import itertools
import os
import random

import numpy as np
import pytest

from kilnet.errors import BusyError, InterruptedRunError, StorageError, WorkerError
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.halving import cohort_epochs, rungs
from kilnet.tuning.search import MAX_CRASHES
from kilnet.tuning.search_folder import SearchFolder
from kilnet.tuning.summary import summarise
from made_up_workers import (
    GRID,
    NUM_TRAIN,
    RANGE,
    THREE,
    Killed,
    MadeUpWorkers,
    begin,
    config_of,
    events_told,
    found,
    loop_of,
    run,
)

pytestmark = pytest.mark.usefixtures("quick_disk")


# --- what is trained


def test_a_grid_without_halving_trains_every_cell_to_its_end(tmp_path):
    config, workers = config_of(halving=False), MadeUpWorkers()
    run(tmp_path, config, workers=workers)
    summary = summarise(tmp_path)
    cells = [(c1, c2) for c1 in (4, 8, 12) for c2 in (4, 8, 12)]
    assert [tuple(row.values.values()) for row in sorted(summary.trials, key=lambda row: row.number)] == cells
    assert {(row.status, row.num_epochs) for row in summary.trials} == {("finished", 6)}
    trained = [(f"trial {n}", e) for n in range(9) for e in range(1, 7)]
    trained += [(name, e) for name in workers.started[9:] for e in range(1, 7)]
    assert workers.epochs == trained
    assert len(workers.started) == 9 + 2 * 2
    assert summary.is_complete
    assert workers.closed
    assert not (tmp_path / "images").exists()


def test_with_halving_no_epoch_is_trained_twice(tmp_path):
    config, workers = config_of(), MadeUpWorkers()
    run(tmp_path, config, workers=workers)
    summary = summarise(tmp_path)
    assert len(set(workers.epochs)) == len(workers.epochs)
    assert sorted(row.num_epochs for row in summary.trials) == [1] * 6 + [2] * 2 + [6]
    assert sum(row.num_epochs for row in summary.trials) == cohort_epochs(9, rungs(6, True)) == 9 + 3 + 4
    assert [row.status for row in summary.trials] == ["finished"] + ["stopped"] * 8
    assert summary.num_image_passes == NUM_TRAIN * 16
    assert summary.num_finalist_image_passes == NUM_TRAIN * 4 * 6
    assert [row.num_epochs for row in summary.trials[:3]] == [6, 2, 2]  # best first: those that came furthest


def test_the_winner_is_the_best_over_seeds(tmp_path):
    config = config_of(halving=False, num_finalists=9, num_seeds=3)
    run(tmp_path, config)
    summary, folder = summarise(tmp_path), SearchFolder(tmp_path)
    mean = {
        number: np.mean([folder.correct(folder.run_folder(number, seed)).mean() for seed in (1, 2, 3)])
        for number in range(9)
    }
    assert summary.winner == max(mean, key=mean.get) == summary.finals[0].number
    assert [final.accuracy.mean for final in summary.finals] == pytest.approx(
        sorted(mean.values(), reverse=True)
    )
    losses = {}
    for seed in (1, 2, 3):
        path = folder.run_folder(summary.winner, seed)
        losses[path] = min(record.validation_loss for record in RunFolder(path).history())
    assert summary.winner_folder == min(losses, key=losses.get)


def test_no_seeds_takes_the_best_trial_as_it_is(tmp_path):
    config = config_of(halving=False, num_seeds=0)
    run(tmp_path, config)
    summary = summarise(tmp_path)
    assert (summary.is_complete, summary.finals) == (True, ())
    assert summary.winner == summary.trials[0].number
    assert summary.trials[0].accuracy == max(row.accuracy for row in summary.trials)
    assert summary.winner_folder == tmp_path / "trials" / f"{summary.winner:04}"


@pytest.mark.parametrize("space", [{"model.c1": [4]}, {"model.c1": [4, 8]}], ids=["one", "two"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_the_smallest_searches(tmp_path, space, epochs):
    config = config_of(space, num_finalists=3, num_seeds=1, epochs=epochs)
    loop = loop_of(tmp_path, config)
    list(loop)
    assert summarise(tmp_path).is_complete
    assert loop.num_epochs_left() == 0


def test_patience_ends_trials_and_finalists(tmp_path):
    config, workers = config_of(halving=False, epochs=9, patience=2), MadeUpWorkers()
    loop = loop_of(tmp_path, config, workers=workers)
    list(loop)
    assert all(trial.finished and len(trial.history) < 9 for trial in loop.trials)
    assert summarise(tmp_path).is_complete


def test_epochs_left_count_down_to_nothing(tmp_path):
    config = config_of(num_finalists=2, num_seeds=2)
    loop = loop_of(tmp_path, config)
    left = [loop.num_epochs_left()]
    left += [loop.num_epochs_left() for event in loop if event.kind == "epoch"]
    assert left == list(range(9 + 3 + 4 + 4 * 6, -1, -1))


@pytest.mark.parametrize("strategy", ["grid", "random"])
def test_any_number_of_workers_in_any_order_finds_the_same(tmp_path, strategy):
    config = config_of(GRID if strategy == "grid" else RANGE, strategy, num_trials=9)
    run(tmp_path / "one", config)
    for seed, num_workers in enumerate((2, 3, 20)):
        path, workers = tmp_path / str(seed), MadeUpWorkers(num_workers, seed=seed)
        run(path, config, workers=workers)
        assert found(path) == found(tmp_path / "one")
        assert len(workers.epochs) == 16 + 24


def test_tpe_in_cohorts(tmp_path):
    config = config_of(RANGE, "tpe", num_trials=18, cohort=9)
    run(tmp_path / "one", config)
    run(tmp_path / "two", config, workers=MadeUpWorkers(2, seed=1))
    assert found(tmp_path / "one") == found(tmp_path / "two")
    assert (
        sorted(row["num_epochs"] for row in found(tmp_path / "one")["trials"]) == [1] * 12 + [2] * 4 + [6] * 2
    )


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_a_space_that_is_used_up_is_a_complete_search(tmp_path, strategy):
    space = {"model.c1": {"low": 4, "high": 6, "log": True}}
    config = config_of(space, strategy, num_trials=3, cohort=9 if strategy == "tpe" else 3)
    loop = loop_of(tmp_path, config)
    list(loop)
    summary = summarise(tmp_path)
    assert len(summary.trials) == 3
    assert summary.is_complete
    assert summary.winner == summary.finals[0].number
    assert loop.num_epochs_left() == 0


# --- what goes wrong


def test_a_worker_that_dies_costs_nothing(tmp_path):
    run(tmp_path / "whole", config_of())
    troubles = {"trial 0": [(0, "crashed"), (0, "epoch lost")], "trial 4": [(0, "crashed")] * 4}
    workers = MadeUpWorkers(troubles=troubles)
    events = run(tmp_path / "torn", config_of(), workers=workers)
    whole, torn = found(tmp_path / "whole"), found(tmp_path / "torn")
    reasons = {row["number"]: row.pop("reason") for row in torn["trials"]}
    assert {number: reason for number, reason in reasons.items() if reason} == {
        0: "crashed on purpose",
        4: "crashed on purpose",
    }
    for row in whole["trials"]:
        row.pop("reason")
    assert torn == whole
    assert sum(event.kind == "crashed" for event in events_told(events)) == 6
    assert len(set(workers.epochs)) == len(workers.epochs)


def test_one_that_dies_again_and_again_is_given_up_and_the_search_goes_on(tmp_path):
    workers = MadeUpWorkers(troubles={"trial 4": [(0, "crashed")] * 99})
    run(tmp_path, config_of(), workers=workers)
    summary = summarise(tmp_path)
    assert workers.started.count("trial 4") == MAX_CRASHES
    row = next(row for row in summary.trials if row.number == 4)
    assert (row.status, row.reason, row.num_epochs, row.accuracy) == ("failed", "crashed on purpose", 0, None)
    assert summary.trials[-1] == row
    assert summary.is_complete
    assert {other.status for other in summary.trials[:-1]} == {"finished", "stopped"}


def test_a_crash_after_every_epoch_is_no_reason_to_give_up(tmp_path):
    config = config_of({"model.c1": [4]}, epochs=12, halving=False, num_seeds=0)
    run(tmp_path, config, workers=MadeUpWorkers(troubles={"trial 0": [(e, "crashed") for e in range(12)]}))
    assert [(row.status, row.num_epochs) for row in summarise(tmp_path).trials] == [("finished", 12)]


def test_one_that_cannot_succeed_is_not_tried_again(tmp_path):
    run(tmp_path / "whole", config_of())
    best = found(tmp_path / "whole")["trials"][0]["number"]
    workers = MadeUpWorkers(troubles={f"trial {best}": [(2, "failed")]})
    run(tmp_path / "torn", config_of(), workers=workers)
    summary = summarise(tmp_path / "torn")
    row = next(row for row in summary.trials if row.number == best)
    assert (row.status, row.reason, row.num_epochs) == ("failed", "failed on purpose", 2)
    assert summary.trials[0].status == "finished"  # the next best has taken its place
    assert best not in [final.number for final in summary.finals]
    assert workers.started.count(f"trial {best}") == 2  # a job a rung, and none after it failed
    assert summary.is_complete


def test_every_trial_failed_is_said(tmp_path):
    troubles = {f"trial {number}": [(0, "failed")] for number in range(3)}
    with pytest.raises(WorkerError, match="every trial failed, the first with: failed on purpose") as error:
        run(tmp_path, config_of(THREE), workers=MadeUpWorkers(troubles=troubles))
    assert "\n" not in str(error.value)
    summary = summarise(tmp_path)
    assert [row.status for row in summary.trials] == ["failed"] * 3
    assert (summary.winner, summary.winner_folder, summary.finals) == (None, None, ())
    with pytest.raises(WorkerError):  # the same command again says the same, and trains nothing
        run(tmp_path, config_of(THREE), workers=(workers := MadeUpWorkers()))
    assert workers.started == []


def test_finalists_that_fail_leave_the_rest_of_the_comparison(tmp_path):
    run(tmp_path / "whole", config_of())
    first, second = (final["number"] for final in found(tmp_path / "whole")["finalists"])
    troubles = {f"finalist {first}, seed 1": [(0, "failed")], f"finalist {second}, seed 1": [(3, "crashed")]}
    run(tmp_path / "torn", config_of(), workers=MadeUpWorkers(troubles=troubles))
    summary = summarise(tmp_path / "torn")
    assert summary.is_complete
    assert {final.number: final.accuracy.num_seeds for final in summary.finals} == {first: 1, second: 1}


def test_all_finalists_failed_leaves_the_best_trial(tmp_path):
    names = [f"finalist {number}, seed {seed}" for number in range(9) for seed in (1, 2)]
    run(tmp_path, config_of(), workers=MadeUpWorkers(troubles={name: [(0, "failed")] for name in names}))
    summary = summarise(tmp_path)
    assert (summary.is_complete, summary.finals) == (True, ())
    assert summary.winner_folder == tmp_path / "trials" / f"{summary.trials[0].number:04}"


def test_a_full_disk_stops_the_search_which_goes_on_later(tmp_path):
    run(tmp_path / "whole", config_of())
    workers = MadeUpWorkers(2, troubles={"trial 3": [(0, "blocked")]})
    with pytest.raises(StorageError, match="blocked on purpose"):
        run(tmp_path / "torn", config_of(), workers=workers)
    assert workers.closed
    assert not summarise(tmp_path / "torn").is_complete
    assert (tmp_path / "torn" / "search.json").exists()
    run(tmp_path / "torn", config_of())
    assert found(tmp_path / "torn") == found(tmp_path / "whole")


def test_another_process_is_refused_while_it_runs(tmp_path):
    config = config_of()
    events = iter(loop_of(tmp_path, config))
    next(events)
    with pytest.raises(BusyError, match="another process is running this search"):
        run(tmp_path, config)
    events.close()
    run(tmp_path, config)


# --- interruption

KINDS_OF_SEARCH = {
    "grid": config_of(THREE, patience=2),
    "random": config_of(RANGE, "random", num_trials=6),
    "tpe": config_of(RANGE, "tpe", num_trials=7, cohort=3, num_finalists=1),
}


@pytest.mark.parametrize("kind", list(KINDS_OF_SEARCH))
def test_left_at_any_event_it_ends_as_if_it_had_not(tmp_path, no_importance, kind):
    config = KINDS_OF_SEARCH[kind]
    num_events = len(run(tmp_path / "whole", config, workers=MadeUpWorkers()))
    whole = found(tmp_path / "whole")
    assert num_events > 25
    for last in range(0, num_events, 2 if kind == "grid" else 7):
        path = tmp_path / str(last)
        first, second = MadeUpWorkers(), MadeUpWorkers()
        for number, _ in enumerate(loop_of(path, config, workers=first)):
            if number == last:
                break
        assert first.closed
        run(path, config, workers=second)
        assert found(path) == whole
        assert sorted(first.epochs + second.epochs) == sorted(set(first.epochs + second.epochs))


@pytest.mark.parametrize(
    "kind",
    ["grid", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS_OF_SEARCH if kind != "grid")],
)
def test_killed_at_any_write_it_ends_as_if_it_had_not(tmp_path, no_importance, monkeypatch, kind):
    """Search and workers die together before or after a file is renamed, whichever file it is."""
    config = KINDS_OF_SEARCH[kind]
    num_syncs, last = 0, -1

    def fsync(handle):
        nonlocal num_syncs
        num_syncs += 1
        if 0 <= last < num_syncs:
            raise Killed

    monkeypatch.setattr(os, "fsync", fsync)
    run(tmp_path / "whole", config)
    whole, num_whole = found(tmp_path / "whole"), num_syncs
    for kill in range(3, num_whole, 5 if kind == "grid" else 11):  # the search itself is there
        path = tmp_path / str(kill)
        num_syncs, last = 0, -1
        begin(path, config)
        last = kill
        with pytest.raises(Killed):
            run(path, config)
        last = -1
        run(path, config)
        assert found(path) == whole, f"killed at write {kill} of {num_whole}"
        assert not list(path.glob(".*.tmp"))


@pytest.mark.slow
def test_killed_again_and_again_with_workers_that_die(tmp_path, no_importance):
    config = config_of()
    run(tmp_path / "whole", config, workers=MadeUpWorkers(troubles={"trial 2": [(0, "failed")]}))
    whole = found(tmp_path / "whole")
    for seed in range(5):
        chance = random.Random(seed)
        path = tmp_path / str(seed)
        while True:
            troubles = {f"trial {n}": [(chance.randrange(3), "crashed")] for n in range(9)}
            troubles["trial 2"] = [(0, "failed")]
            workers = MadeUpWorkers(chance.choice((1, 2)), troubles, seed)
            num_events = chance.randrange(1, 14)
            if len(list(itertools.islice(loop_of(path, config, workers=workers), num_events))) < num_events:
                break
        ended = found(path)
        for row in ended["trials"] + whole["trials"]:
            row["reason"] = None
        assert ended == whole


def test_termination_is_an_interruption(tmp_path):
    workers = MadeUpWorkers()
    with pytest.raises(
        InterruptedRunError, match="stopped; everything is saved, and the same command resumes"
    ):
        for number, _ in enumerate(loop := loop_of(tmp_path, config_of(), workers=workers)):
            if number == 5:
                workers.next_event = lambda timeout_seconds: os.kill(os.getpid(), 15)
    assert workers.closed
    assert loop.running == {}
    run(tmp_path, config_of())
    assert summarise(tmp_path).is_complete


def test_the_same_search_again_trains_nothing(tmp_path):
    run(tmp_path, config_of())
    before, workers = found(tmp_path), MadeUpWorkers()
    assert run(tmp_path, config_of(), workers=workers) == []
    assert (workers.started, found(tmp_path)) == ([], before)


# --- disk


def test_a_search_with_no_room_at_all_still_ends(tmp_path):
    run(tmp_path / "roomy", config_of())
    run(tmp_path / "tight", config_of(), disk_budget_bytes=0)
    assert found(tmp_path / "tight") == found(tmp_path / "roomy")


def test_a_trial_that_comes_back_without_its_state_begins_again(tmp_path):
    """The best of the last rung fails when the states of the others are gone already."""
    run(tmp_path / "whole", config_of())
    best = found(tmp_path / "whole")["trials"][0]["number"]
    options = [{}, {"disk_budget_bytes": 0}]
    for number, option in enumerate(options):
        workers = MadeUpWorkers(troubles={f"trial {best}": [(4, "failed")]})
        run(tmp_path / str(number), config_of(), workers=workers, **option)
    assert found(tmp_path / "0") == found(tmp_path / "1")


EARLY = {"epochs": 3, "rungs": (0.3, 0.6, 3)}


def test_rungs_within_the_first_epoch(tmp_path):
    config, workers = config_of(**EARLY), MadeUpWorkers()
    loop = loop_of(tmp_path, config, workers)
    left = [loop.num_epochs_left()]
    left += [loop.num_epochs_left() for event in loop if event.kind in ("epoch", "done")]
    assert left == sorted(left, reverse=True)
    assert (left[0], left[-1]) == (pytest.approx(6 * 0.3 + 2 * 0.6 + 3 + 4 * 3), 0)
    summary = summarise(tmp_path)
    assert [row.num_epochs for row in summary.trials] == [3] + [0.6] * 2 + [0.3] * 6
    assert [row.status for row in summary.trials] == ["finished"] + ["stopped"] * 8
    assert all(row.accuracy is not None for row in summary.trials)
    assert summary.num_image_passes == NUM_TRAIN * 3 + 2 * 18 + 6 * 9
    assert len(set(workers.epochs)) == len(workers.epochs) == 9 + 3 + 3 + 4 * 3
    assert len(summary.finals) == 2, "one that has no weights may be a finalist: it is trained again"
    assert summary.winner_folder.is_dir()
    assert not list((tmp_path / "trials" / f"{summary.trials[-1].number:04}").glob("weights*"))


@pytest.mark.parametrize("strategy", ["effects", "tpe"])
def test_early_rungs_find_the_same_whoever_dies_and_comes_first(tmp_path, strategy):
    config = config_of(GRID, strategy, num_trials=8, cohort=4, **EARLY)
    run(tmp_path / "one", config)
    troubles = {"trial 0": [(0, "crashed"), (0, "epoch lost")], "trial 5": [(0, "crashed"), (0, "lost")]}
    workers = MadeUpWorkers(3, troubles, seed=1)
    run(tmp_path / "torn", config, workers=workers)
    whole, torn = found(tmp_path / "one"), found(tmp_path / "torn")
    for row in (*whole["trials"], *torn["trials"]):
        row.pop("reason")
    assert torn == whole
    assert len(set(workers.epochs)) == len(workers.epochs)


def test_a_search_of_an_earlier_version_keeps_its_rungs(tmp_path):
    loop = begin(tmp_path, config_of())
    text = loop.config_path.read_text()
    assert "rungs = []" in text
    loop.config_path.write_text(text.replace("rungs = []\n", ""))
    run(tmp_path, config_of())
    assert sorted(row.num_epochs for row in summarise(tmp_path).trials) == [1] * 6 + [2] * 2 + [6]
