"""SIGKILL of a search, its workers, or all, at random moments: the same command again ends with the same table."""

import csv
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kilnet.training.run_folder import RunFolder

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in /proc")

SPACE = {"model.c1": "4,8", "model.c2": "8,16", "model.l1": "16,32"}
SETTINGS = ["hardware.threads=1", "hardware.precision=fp32", "hardware.layout=contiguous", "augment=tutorial"]
SETTINGS += ["training.batch_size=64", "training.checkpoint_seconds=0.05", "data.num_train=640"]
WRITTEN_BY_THE_CLOCK = ("seconds", "reason")


def command(folder, num_workers):
    words = [sys.executable, "-m", "kilnet", "tune", "digits", "--out", str(folder), "--epochs", "6"]
    words += ["--workers", str(num_workers), "--finalists", "2", "--seeds", "2", "--json"]
    words += [word for key, values in SPACE.items() for word in ("--space", f"{key}={values}")]
    return words + [word for setting in SETTINGS for word in ("--set", setting)]


def workers_of(process):
    """Return the process numbers of a search's workers."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in children]


def kill(number):
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def search_with_kills(folder, num_workers, chance, max_kills, seconds):
    """Run a search to its end, killing parts of it at random moments; returns how many processes were killed."""
    num_kills = 0
    while True:
        process = subprocess.Popen(
            command(folder, num_workers), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None:
            try:
                process.wait(chance.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                if num_kills < max_kills:
                    workers = workers_of(process)
                    victims = chance.choice(
                        [[process.pid], workers[:1], workers[-1:], [process.pid, *workers]]
                    )
                    num_kills += sum(map(kill, victims))
        errors = process.communicate()[1]
        if process.returncode == 0:
            return num_kills
        assert process.returncode == -signal.SIGKILL, errors


def table(folder):
    """Return what a search has found, without what depends on the clock; checks that nothing is lost or doubled."""
    with (folder / "search.csv").open(newline="") as file:
        rows = [
            {key: cell for key, cell in row.items() if key not in WRITTEN_BY_THE_CLOCK}
            for row in csv.DictReader(file)
        ]
    assert sorted(int(row["trial"]) for row in rows) == list(range(8))
    assert len({tuple(row[key] for key in SPACE) for row in rows}) == 8
    assert {row["status"] for row in rows} == {"finished", "stopped"}
    runs = sorted([*(folder / "trials").iterdir(), *(folder / "finalists").iterdir()])
    assert len(runs) == 8 + 4
    epochs = [[record.epoch for record in RunFolder(run).history()] for run in runs]
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in epochs)
    assert not list(folder.rglob("*.tmp"))
    weights = {file.parent.name: file.read_bytes() for file in folder.rglob("weights.safetensors")}
    return rows, weights, epochs


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "whole"
    environment = os.environ | {"KILNET_CACHE": str(folder.parent)}
    subprocess.run(command(folder, 1), check=True, capture_output=True, env=environment)
    return table(folder)


@pytest.mark.slow
def test_killed_a_few_times(tmp_path, uninterrupted):
    num_kills = search_with_kills(tmp_path / "killed", 2, random.Random(1), max_kills=3, seconds=6.0)
    assert num_kills >= 2
    assert table(tmp_path / "killed") == uninterrupted


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_many_times(tmp_path, uninterrupted, pytestconfig):
    chance = random.Random(0)
    wanted = 100 if pytestconfig.getoption("--faults") == "full" else 10
    num_kills = num_searches = 0
    while num_kills < wanted:
        folder = tmp_path / str(num_searches)
        num_kills += search_with_kills(folder, 1 + num_searches % 2, chance, max_kills=wanted, seconds=8.0)
        assert table(folder) == uninterrupted
        num_searches += 1
