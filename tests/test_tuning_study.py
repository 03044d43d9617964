"""The copy of a search in an Optuna study."""

import itertools
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from kilnet.errors import MissingPackageError, StorageError
from kilnet.tuning.backends.jobs import Notice
from kilnet.tuning.study import StudyCopy, sqlite_url
from kilnet.tuning.summary import summarise
from made_up_workers import (
    GRID,
    RANGE,
    THREE,
    Killed,
    MadeUpWorkers,
    config_of,
    found,
    loop_of,
    run,
)
from postgresql_server import PostgresqlServer

pytestmark = pytest.mark.usefixtures("quick_disk")


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
        seen = (*own.early[:1], *own.history)
        assert trial.intermediate_values == {int(r.epoch): r.validation_accuracy for r in seen}
        if row.status == "finished":
            assert trial.value == row.accuracy
        if row.status == "stopped":
            assert trial.value == (own.history or own.early)[-1].validation_accuracy
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


def test_the_study_of_trials_that_end_within_the_first_epoch(tmp_path):
    config = config_of(epochs=3, rungs=(0.3, 0.6, 3))
    loop = loop_of(tmp_path, config, study=make_study(tmp_path, config))
    for _ in loop:
        pass
    study = assert_copied(tmp_path, loop)
    assert sum(list(trial.intermediate_values) == [0] for trial in study.trials) == 8


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

    def update(trials, changed, stopped):
        if sum(trial.finished for trial in trials) == 1:
            raise Killed
        told(trials, changed, stopped)

    copy.update = update
    with pytest.raises(Killed):
        run(tmp_path, config, study=copy)
    loop = loop_of(tmp_path, config, study=make_study(tmp_path, config))
    list(loop)
    assert_copied(tmp_path, loop)


@pytest.mark.parametrize("damage", ["words", "cut", "zeroed", "a page zeroed", "empty", "journal"])
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
            "a page zeroed": whole[: len(whole) // 4096 * 4096 - 4096] + bytes(4096),
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
        "nonsense://me:secret@nowhere/db",
    ):
        with pytest.raises(StorageError, match="check `storage`") as error:
            StudyCopy(Path("study"), space, url).connect()
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("scheme", "advice"),
    [
        ("mysql+pymysql", "its driver is not installed: .*pymysql"),
        ("postgresql", r"pip install 'kilnet\[postgresql\]'"),
    ],
)
def test_a_missing_driver_is_one_line_without_the_password(scheme, advice, tmp_path, monkeypatch):
    for name in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    copy = StudyCopy(tmp_path, config_of(THREE).parsed_space(), f"{scheme}://me:secret@nowhere/db")
    with pytest.raises(MissingPackageError, match=advice) as error:
        copy.connect()
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.slow
def test_a_postgresql_that_is_stopped_in_the_middle_has_all_trials_at_the_end(tmp_path):
    words = ["tune", "digits", "--space", "model.c1=2,4,6,8", "--epochs", "2", "--no-halving", "--seeds", "0"]
    words += ["--workers", "1", "--set", "data.num_train=200", "--out", tmp_path / "search"]
    with PostgresqlServer() as server:
        command = [sys.executable, "-m", "kilnet", *map(str, words), "--storage", server.url]
        said = []
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as search:
            for line in search.stderr:
                said.append(line)
                if line.startswith("trial 3 "):  # the largest network comes first
                    server.stop()
                if line.startswith("trial 1 "):
                    server.start()
        assert search.returncode == 0, "".join(said)
        (line,) = [line for line in said if "copies its trials there later" in line]
        assert line.startswith("warning: postgresql://127.0.0.1:")
        assert "secret" not in "".join(said)
        rows = sorted(summarise(tmp_path / "search").trials, key=lambda row: row.number)
        trials = trials_in(server.url, "search")
        assert [trial.params for trial in trials] == [row.values for row in rows]
        assert [trial.value for trial in trials] == [row.accuracy for row in rows]
        assert len(rows) == 4
        assert all(len(trial.intermediate_values) == 2 for trial in trials)
        assert numbers_in_dashboard(server.url) == [0, 1, 2, 3]


def trials_in(url, name):
    storage = RDBStorage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()


def numbers_in_dashboard(url):
    """Return the numbers of the trials that optuna-dashboard shows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from optuna_dashboard._cli import main; main()",
        "--port",
        str(port),
        url,
    ]
    dashboard = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
                    (study,) = json.load(answer)["study_summaries"]
                break
            except OSError:  # it does not listen yet
                assert dashboard.poll() is None
                assert time.monotonic() < end
                time.sleep(0.2)
        with urlopen(f"http://127.0.0.1:{port}/api/studies/{study['study_id']}?after=0") as answer:
            return [trial["number"] for trial in json.load(answer)["trials"]]
    finally:
        dashboard.kill()
        dashboard.wait()
