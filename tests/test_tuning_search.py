"""The search itself, with workers that make up their records: what is trained, retried, given up, kept and told."""

import csv
import io
import itertools
import json
import os
import random
import zlib
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import BusyError, InterruptedRunError, StorageError, WorkerError
from kilnet.recipes.reading import load_config
from kilnet.storage import write_bytes
from kilnet.training.records import EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.training.schedule import EarlyStopping
from kilnet.tuning import summary as summary_module
from kilnet.tuning.backends.jobs import WorkerEvent
from kilnet.tuning.backends.shared_images import map_images
from kilnet.tuning.halving import cohort_epochs, rungs
from kilnet.tuning.search import MAX_CRASHES, Notice, SearchLoop
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.search_folder import SearchFolder, free_up
from kilnet.tuning.study import StudyCopy, sqlite_url
from kilnet.tuning.summary import summarise, write_summary

NUM_TRAIN, NUM_VALIDATION = 30, 50
GRID = {"model.c1": [4, 8, 12], "model.c2": [4, 8, 12]}
THREE = {"model.c1": [4, 8, 12]}
RANGE = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "model.c1": [4, 8, 12]}
WEIGHTS_BYTES, STATE_BYTES = 100, 300


class Killed(BaseException):
    """The power is gone."""


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Nobody cuts the power of a test; that of `Killed` aside."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def make_dataset():
    def split(num_images):
        images = np.zeros((num_images, 1, 4, 4), np.uint8)
        return Split(images, np.arange(num_images) % 2, tuple(map(str, range(num_images))))

    return ImageDataset("made", ("a", "b"), split(NUM_TRAIN), split(NUM_VALIDATION), split(8))


def config_of(space=GRID, strategy="grid", num_trials=None, cohort=None, epochs=6, patience=None, **options):
    settings = {"training.epochs": epochs, **({"training.patience": patience} if patience else {})}
    standard = {"halving": True, "num_finalists": 2, "num_seeds": 2}
    config = SearchConfig(
        strategy=strategy,
        num_trials=1,
        cohort=1,
        space=space,
        run=load_config(settings=settings),
        **(standard | options),
    )
    num_trials = num_trials or len(config.parsed_space().cells())
    return config.model_copy(update={"num_trials": num_trials, "cohort": cohort or num_trials})


def luck(*things):
    """A number from 0 to 1 that follows from the things alone."""
    return np.random.default_rng(zlib.crc32(repr(things).encode())).random()


class MadeUpWorkers:
    """Writes what a training would write, with records that follow from configuration and epoch alone.

    Args:
        troubles: by name of the job, what happens when it has so many epochs: {"trial 3": [(1, "crashed"), ...]};
            each happens once, oldest first.
        seed: in which order workers report.
    """

    def __init__(self, num_workers=1, troubles=None, seed=0):
        self.num_workers = num_workers
        self.troubles = {name: list(events) for name, events in (troubles or {}).items()}
        self.chance = random.Random(seed)
        self.jobs, self.started, self.epochs, self.closed = [], [], [], False

    @property
    def num_idle(self):
        return self.num_workers - len(self.jobs)

    def start(self, job):
        assert self.num_idle > 0
        assert job.folder not in [other.folder for other in self.jobs]
        assert len(map_images(job.images).train) == NUM_TRAIN
        self.jobs.append(job)
        self.started.append(job.name)

    def next_event(self, timeout_seconds):
        if self.chance.random() < 0.1:
            return None
        job = self.chance.choice(self.jobs)
        folder = RunFolder(job.folder)
        folder.state_path.parent.mkdir(parents=True, exist_ok=True)
        history = folder.history() if folder.state_path.is_file() else []
        events = self.troubles.get(job.name, [])
        if events and events[0][0] == len(history):
            kind = events.pop(0)[1]
            if kind == "epoch lost":  # died between writing it down and telling
                self._train(job, folder, history)
                kind = "crashed"
            self.jobs.remove(job)
            return WorkerEvent(job=job, kind=kind, reason=f"{kind} on purpose")
        if len(history) < job.until and not stopped_early(history, job.config):
            self._train(job, folder, history)
            return WorkerEvent(job=job, kind="epoch", record=history[-1])
        if job.score_validation:
            content = io.BytesIO()
            best = [record for record in history if record.is_best][-1]
            np.save(content, np.arange(NUM_VALIDATION) < best.num_validation_correct)
            write_bytes(job.folder / "correct.npy", content.getvalue())
        self.jobs.remove(job)
        return WorkerEvent(job=job, kind="done")

    def _train(self, job, folder, history):
        who = (sorted(job.config.model.options.items()), job.config.optimizer.lr, job.config.seed)
        losses = [record.validation_loss for record in history]
        epoch, loss = len(history) + 1, luck(*who, len(history), "loss")
        num_correct = round(NUM_VALIDATION * luck(*who, epoch, "accuracy"))
        is_best = all(loss < other for other in losses)
        accuracy = num_correct / NUM_VALIDATION
        history.append(
            EpochRecord(epoch, 0.1, 1.0, 0.5, loss, accuracy, num_correct, NUM_VALIDATION, is_best)
        )
        if is_best:
            write_bytes(folder.weights_path, bytes(WEIGHTS_BYTES))
        write_bytes(folder.state_path, bytes(STATE_BYTES))
        folder.write_history(history)
        self.epochs.append((job.name, epoch))

    def close(self):
        self.jobs.clear()
        self.closed = True


def stopped_early(history, config):
    stopping = EarlyStopping(config.training.patience)
    for record in history:
        stopping.step(record.validation_loss)
    return stopping.should_stop


def begin(path, config):
    folder = SearchFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.begin(config, {"data": {"num_train": NUM_TRAIN, "num_validation": NUM_VALIDATION}})
    return folder


def loop_of(path, config, workers=None, study=None, disk_budget_bytes=10**9):
    folder = SearchFolder(path)
    if not folder.exists:
        begin(path, config)
    return SearchLoop(folder, lambda _: make_dataset(), workers or MadeUpWorkers(), disk_budget_bytes, study)


def run(path, config, **options):
    return list(loop_of(path, config, **options))


def found(path):
    """All that a search has found, but for where it lies."""
    content = summarise(path).to_dict()
    assert str(path) == content.pop("folder")
    content["winner_folder"] = content["winner_folder"] and content["winner_folder"].removeprefix(str(path))
    return content


def events_told(events):
    return [event for event in events if isinstance(event, WorkerEvent)]


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
TROUBLES = {"trial 1": [(0, "crashed"), (1, "crashed")], "trial 2": [(1, "failed")]}


@pytest.fixture
def no_importance(monkeypatch):
    """Forests take long, and have nothing to do with interruptions."""
    monkeypatch.setattr(summary_module, "get_param_importances", lambda *_, **__: {})


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


@pytest.mark.parametrize("kind", list(KINDS_OF_SEARCH))
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


def test_what_is_deleted_is_the_worst_and_never_needed(tmp_path):
    config = config_of(halving=True, epochs=9)
    budget = 1000
    loop = loop_of(tmp_path, config, disk_budget_bytes=budget)
    had_state = set()
    for _ in loop:
        due = {trial.number for place in loop.standings() for trial in place.due}
        has_state = {n for n in due if RunFolder(loop.folder.run_folder(n)).state_path.is_file()}
        assert due & had_state <= has_state
        had_state = has_state
    idle = [RunFolder(loop.folder.run_folder(row.number)) for row in summarise(tmp_path).trials]  # best first
    has_state = [folder.state_path.is_file() for folder in idle]
    has_weights = [folder.weights_path.exists() for folder in idle]
    kept = STATE_BYTES * sum(has_state) + WEIGHTS_BYTES * sum(has_weights)
    assert budget - STATE_BYTES < kept <= budget
    assert has_weights == [True] * 9
    assert has_state == sorted(has_state, reverse=True)


def test_states_go_before_weights_and_the_worst_before_the_best(tmp_path):
    folders = []
    for number in range(3):
        folder = RunFolder(tmp_path / str(number))
        folder.state_path.parent.mkdir(parents=True)
        folder.weights_path.write_bytes(bytes(10))
        folder.state_path.write_bytes(bytes(30))
        folders.append(folder)
    kept = []
    for budget in (120, 119, 90, 61, 60, 59, 30, 29, 20, 10, 9, 0):
        free_up([folder.path for folder in folders], budget)
        kept.append(
            "".join("s" * f.state_path.is_file() + "w" * f.weights_path.exists() + "," for f in folders)
        )
    assert kept == [
        "sw,sw,sw,",
        "sw,sw,w,",
        "sw,sw,w,",
        "sw,w,w,",
        "sw,w,w,",
        "w,w,w,",
        "w,w,w,",
        "w,w,,",
        "w,w,,",
        "w,,,",
        ",,,",
        ",,,",
    ]


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


# --- the copy in a study


def load_study(path, name="study"):
    return optuna.load_study(study_name=name, storage=sqlite_url(path / "study.sqlite3"))


def make_study(path, config, name="study"):
    path.mkdir(parents=True, exist_ok=True)
    study = StudyCopy(path / name, config.parsed_space(), sqlite_url(path / "study.sqlite3"))
    study.connect()
    return study


def assert_copied(path, loop, name="study"):
    """The study holds every trial as the folder does."""
    study = load_study(path, name)
    rows = {row.number: row for row in summarise(path).trials}
    states = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
    assert [trial.number for trial in study.trials] == sorted(rows)
    for trial, own in zip(study.trials, loop.trials, strict=True):
        row = rows[trial.number]
        assert trial.params == row.values
        assert trial.state == states[row.status], f"trial {trial.number} is {row.status}"
        assert trial.intermediate_values == {r.epoch: r.validation_accuracy for r in own.history}
        if row.status == "finished":
            assert trial.value == row.accuracy
    return study


@pytest.mark.parametrize("strategy", ["grid", "random", "tpe"])
def test_the_study_holds_the_same_trials(tmp_path, strategy):
    space = GRID if strategy == "grid" else RANGE
    config = config_of(space, strategy, num_trials=9, epochs=3)
    workers = MadeUpWorkers(2, troubles={"trial 3": [(0, "failed")], "trial 5": [(0, "crashed")]})
    loop = loop_of(tmp_path, config, workers, make_study(tmp_path, config))
    list(loop)
    study = assert_copied(tmp_path, loop)
    assert {trial.state for trial in study.trials} == {
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
    }
    finished = [row for row in summarise(tmp_path).trials if row.status == "finished"]
    assert study.best_trial.number == min(finished, key=lambda row: (-row.accuracy, row.number)).number


def test_the_study_of_a_stepped_range(tmp_path):
    config = config_of({"model.d1": {"low": 0.1, "high": 0.3, "step": 0.1}}, epochs=2, num_seeds=0)
    loop = loop_of(tmp_path, config, study=make_study(tmp_path, config))
    assert not [event for event in loop if isinstance(event, Notice)]
    assert_copied(tmp_path, loop)


def test_the_study_of_a_running_search(tmp_path):
    config = config_of(epochs=3)
    loop = loop_of(tmp_path, config, study=make_study(tmp_path, config))
    for _ in itertools.islice(loop, 3):
        pass
    study = load_study(tmp_path)
    assert [trial.number for trial in study.trials] == list(range(9))
    assert {trial.state for trial in study.trials} == {TrialState.RUNNING}
    assert sum(len(trial.intermediate_values) for trial in study.trials) == 2


def test_a_search_that_was_left_goes_on_in_its_study(tmp_path):
    config = config_of(epochs=3)
    for num_events in (4, 9, 1000):
        loop = loop_of(tmp_path, config, study=make_study(tmp_path, config))
        for _ in itertools.islice(loop, num_events):
            pass
    assert_copied(tmp_path, loop)


def test_a_trial_that_is_taken_back_is_taken_back_in_the_study_too(tmp_path):
    run(tmp_path / "whole", config_of())
    best = found(tmp_path / "whole")["trials"][0]["number"]
    path, config = tmp_path / "torn", config_of()
    workers = MadeUpWorkers(troubles={f"trial {best}": [(4, "failed")]})
    loop = loop_of(path, config, workers, make_study(path, config))
    list(loop)
    assert_copied(path, loop)


class Unplugged:
    def __getattr__(self, name):
        raise ConnectionError("nobody there")


def test_a_study_that_stops_answering_is_said_once_and_told_later(tmp_path):
    config = config_of(epochs=3)
    copy = make_study(tmp_path, config)
    storage = copy._storage
    loop = loop_of(tmp_path, config, study=copy)
    notices = []
    for number, event in enumerate(loop):
        if isinstance(event, Notice):
            notices.append((number, event.line))
        copy._storage = Unplugged() if 3 <= number < 12 or 16 <= number < 20 else storage
    assert len(notices) == 2
    for _, line in notices:
        assert line.startswith("warning: sqlite://")
        assert "nobody there; the search continues" in line
        assert "\n" not in line
    assert summarise(tmp_path).is_complete
    assert_copied(tmp_path, loop)


def test_a_study_that_is_lost_is_filled_by_the_same_command(tmp_path):
    config = config_of(THREE, epochs=3, num_seeds=0)
    list(loop_of(tmp_path, config, study=make_study(tmp_path, config)))
    (tmp_path / "study.sqlite3").unlink()
    loop = loop_of(tmp_path, config, study=make_study(tmp_path, config))
    list(loop)
    assert_copied(tmp_path, loop)


def test_a_study_killed_before_the_last_word_is_told_by_the_same_command(tmp_path):
    config = config_of(THREE, epochs=3, num_seeds=0)
    copy = make_study(tmp_path, config)
    told = copy.update

    def update(trials, stopped):
        if sum(trial.finished for trial in trials) == 1:
            raise Killed
        told(trials, stopped)

    copy.update = update
    with pytest.raises(Killed):
        run(tmp_path, config, study=copy)
    loop = loop_of(tmp_path, config, study=make_study(tmp_path, config))
    list(loop)
    assert_copied(tmp_path, loop)


@pytest.mark.parametrize("damage", ["words", "cut", "zeroed", "empty", "journal"])
def test_a_damaged_study_in_the_folder_is_written_again(tmp_path, damage):
    config = config_of(THREE, epochs=2)
    path, name = tmp_path / "search", "search"

    def search():
        loop = loop_of(path, config, study=StudyCopy(path, config.parsed_space()))
        return loop, [event for event in loop if isinstance(event, Notice)]

    search()
    file = path / "study.sqlite3"
    whole = file.read_bytes()
    file.write_bytes(
        {
            "words": b"no study",
            "cut": whole[: len(whole) // 2],
            "zeroed": whole[:4096] + bytes(len(whole) - 4096),
            "empty": b"",
            "journal": whole,
        }[damage]
    )
    if damage == "journal":
        (path / "study.sqlite3-journal").write_bytes(b"of another file")
    loop, notices = search()
    assert notices == []
    assert summarise(path).is_complete
    assert_copied(path, loop, name)


def test_a_study_that_cannot_be_written_never_stops_a_search(tmp_path):
    config = config_of(THREE, epochs=2)
    path = tmp_path / "search"
    (path / "study.sqlite3").mkdir(parents=True)
    loop = loop_of(path, config, study=StudyCopy(path, config.parsed_space()))
    (notice,) = [event for event in loop if isinstance(event, Notice)]
    assert notice.line.startswith(f"warning: sqlite:///{path}/study.sqlite3: ")
    assert summarise(path).is_complete


def test_two_searches_in_one_storage_do_not_mix(tmp_path):
    for name, space in (("first", THREE), ("second", GRID)):
        config = config_of(space, epochs=2)
        copy = StudyCopy(Path(name), config.parsed_space(), sqlite_url(tmp_path / "study.sqlite3"))
        run(tmp_path / name, config, study=copy)
    assert len(load_study(tmp_path, "first").trials) == 3
    assert len(load_study(tmp_path, "second").trials) == 9


def test_folders_of_one_name_do_not_share_a_study(tmp_path):
    space, url = config_of(THREE).parsed_space(), sqlite_url(tmp_path / "study.sqlite3")
    StudyCopy(tmp_path / "here" / "name", space, url).connect()
    StudyCopy(tmp_path / "here" / "name", space, url).connect()
    with pytest.raises(StorageError, match=r"its study name belongs to .*here/name; choose another `out`"):
        StudyCopy(tmp_path / "there" / "name", space, url).connect()


def test_a_storage_that_does_not_answer_is_one_line_without_the_password(tmp_path):
    space = config_of(THREE).parsed_space()
    for url in (
        f"sqlite:///{tmp_path}/no/such/folder.sqlite3",
        "nonsense",
        "mysql+pymysql://me:secret@nowhere/db",
    ):
        with pytest.raises(StorageError, match="check `storage`") as error:
            StudyCopy(Path("study"), space, url).connect()
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)


# --- the summary


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
    monkeypatch.setitem(
        globals(), "luck", lambda options, *rest: dict(options)["c2"] / 24 + 0.001 * (rest[-2] % 7)
    )
    run(tmp_path, config_of(halving=False, num_seeds=0))
    importance = summarise(tmp_path).importance
    assert list(importance) == ["model.c2", "model.c1"]
    assert importance["model.c2"] > 0.9
    assert sum(importance.values()) == pytest.approx(1)


def test_importance_of_trials_that_are_all_alike_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "luck", lambda *things: 0.5)
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


def test_proposing_takes_no_longer_the_more_trials_there_are(tmp_path, monkeypatch):
    """Reading all trials again for each that is added would make a night's grid wait for an hour."""
    num_reads = 0
    read = SearchFolder.trial

    def counting(self, number, config):
        nonlocal num_reads
        num_reads += 1
        return read(self, number, config)

    monkeypatch.setattr(SearchFolder, "trial", counting)
    config = config_of({"model.c1": list(range(1, 101))})
    next(iter(loop_of(tmp_path, config)))
    assert num_reads <= 2 * 100 + 1
