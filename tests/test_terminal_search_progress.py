"""What is told while a search runs: plain lines where there is no terminal, a table where there is one."""

import io
import re
import time
from itertools import pairwise

import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.terminal import search_progress
from kilnet.terminal.search_progress import SearchDisplay, machines_line
from kilnet.tuning.backends.jobs import Notice
from kilnet.tuning.search import SearchLoop
from kilnet.tuning.summary import summarise
from made_up_workers import THREE, MadeUpWorkers, config_of, found, loop_of, make_dataset

pytestmark = pytest.mark.usefixtures("quick_disk", "no_importance")


def followed(search, **options):
    console = Console(file=io.StringIO(), width=100, **options)
    with SearchDisplay(search, console) as display:
        display.follow()
    return console.file.getvalue()


def test_each_job_is_one_line_with_its_values_and_what_is_left(tmp_path):
    config = config_of(THREE, epochs=3, halving=False, num_finalists=1, num_seeds=1)
    lines = followed(
        loop_of(tmp_path, config, MadeUpWorkers(troubles={"trial 1": [(2, "failed")]}))
    ).splitlines()
    accuracy = {row["number"]: row["accuracy"] for row in found(tmp_path)["trials"]}
    assert lines[0].startswith(f"trial 0 (c1 4) after epoch 3: validation accuracy {accuracy[0]:.2%}; ")
    assert lines[1].startswith("trial 1 (c1 8) failed: failed on purpose; ")
    assert re.fullmatch(r"trial 2 \(c1 12\) after epoch 3: .*; 3 epochs left, about .*", lines[2])
    assert re.fullmatch(
        r"finalist \d, seed 1 \(c1 (4|12)\) after epoch 3: .*; nothing left to train", lines[3]
    )
    assert len(lines) == 4


def test_a_notice_is_a_line_of_its_own_and_is_not_markup(tmp_path):
    class WithNotice(SearchLoop):
        def __iter__(self):
            yield Notice("warning: [bold] nobody there")
            yield from super().__iter__()

    plain = loop_of(tmp_path, config_of(THREE, epochs=1, num_seeds=0))
    search = WithNotice(plain.folder, lambda _: make_dataset(), MadeUpWorkers(), 10**9, None)
    assert followed(search).splitlines()[0] == "warning: [bold] nobody there"


def test_a_terminal_shows_all_trials_and_who_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(search_progress, "_SECONDS_BETWEEN_FRAMES", 0)
    text = followed(loop_of(tmp_path, config_of(THREE, epochs=2), MadeUpWorkers(2)), force_terminal=True)
    assert re.search(r"trial 1 .*epoch 1 of", text)
    assert "starting" in text
    assert "nothing left to train" in text


def test_reading_trials_again_takes_a_small_part_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(search_progress, "_SECONDS_BETWEEN_FRAMES", 0)
    times = []

    def slow_summary(path):
        times.append(time.monotonic())
        time.sleep(0.05)
        return summarise(path)

    monkeypatch.setattr(search_progress, "summarise", slow_summary)
    followed(loop_of(tmp_path, config_of(THREE, epochs=2), MadeUpWorkers()), force_terminal=True)
    assert times
    assert all(later - earlier >= 1 for earlier, later in pairwise(times)), (
        "20 times as long as reading takes"
    )


MACHINES = [("10.0.0.7", 2), ("10.0.0.8", 1), ("gpu-node.example.org", 0), ("10.0.0.9", 12)]


def test_machines_are_one_line_of_any_width():
    whole = "4 machines: 10.0.0.7 2 trials, 10.0.0.8 1 trial, gpu-node.example.org idle, 10.0.0.9 12 trials"
    assert machines_line(MACHINES, 120) == whole
    assert machines_line(MACHINES, len(whole) + 1) == whole
    assert machines_line(MACHINES, len(whole)).endswith("gpu-node.example.org idle, 1 more")
    assert machines_line(MACHINES, 60) == "4 machines: 10.0.0.7 2 trials, 10.0.0.8 1 trial, 2 more"
    assert machines_line(MACHINES[:1], 120) == "1 machine: 10.0.0.7 2 trials"
    assert machines_line([], 120) == ""
    for width in range(8, 120):
        assert cell_len(machines_line(MACHINES * 20, width)) < width


def test_a_search_on_a_cluster_says_on_which_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(search_progress, "_SECONDS_BETWEEN_FRAMES", 0)
    config, workers = config_of(THREE, epochs=2), MadeUpWorkers()
    workers.machines = MACHINES
    plain = followed(loop_of(tmp_path / "a", config, workers)).splitlines()
    assert all(" left on 4 machines, about " in line for line in plain[:-1])
    assert plain[-1].endswith("nothing left to train")
    workers = MadeUpWorkers()
    workers.machines = MACHINES
    shown = followed(loop_of(tmp_path / "b", config, workers), force_terminal=True)
    assert (
        "4 machines: 10.0.0.7 2 trials, 10.0.0.8 1 trial, gpu-node.example.org idle, 10.0.0.9 12 trial"
        in shown
    )


def test_switched_off_it_says_nothing_and_the_search_is_the_same(tmp_path):
    config = config_of(THREE, epochs=2)
    followed(loop_of(tmp_path / "told", config))
    with SearchDisplay(loop_of(tmp_path / "silent", config), enabled=False) as display:
        display.follow()
    assert found(tmp_path / "silent") == found(tmp_path / "told")
