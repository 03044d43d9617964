"""The folder of a search: what it keeps, how often it is read, and what goes first where the disk is full."""

import pytest

from kilnet.training.run_folder import RunFolder
from kilnet.tuning.search_folder import SearchFolder, free_up
from kilnet.tuning.summary import summarise
from made_up_workers import (
    STATE_BYTES,
    WEIGHTS_BYTES,
    config_of,
    loop_of,
)

pytestmark = pytest.mark.usefixtures("quick_disk")


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
