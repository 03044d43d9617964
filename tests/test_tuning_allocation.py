"""How many workers a search gets, and how many threads each: asked for, configured, or measured and kept."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from kilnet import hardware
from kilnet.tuning.allocation import allocate
from speed_jobs import speed_job


@pytest.fixture(autouse=True)
def four_threads(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "available_threads", lambda: 4)
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [(3, 0, (3, 1)), (2, 0, (2, 2)), (9, 0, (9, 1)), (3, 4, (3, 4)), (None, 2, (2, 2)), (None, 8, (1, 8))],
)
def test_what_is_asked_for_is_not_measured(tmp_path, workers, threads, expected):
    found = allocate(workers, speed_job(**{"hardware.threads": threads}), tmp_path / "logs")
    assert (found.num_workers, found.num_threads) == expected
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_what_is_measured_is_kept(tmp_path, monkeypatch):
    found = allocate(None, speed_job(), tmp_path / "logs")
    rates = re.findall(r"(\d) with (\d) threads? ([\d,]+)", found.reason)
    assert [pair[:2] for pair in rates] == [("1", "4"), ("2", "2"), ("4", "1")]
    speeds = {int(size): float(rate.replace(",", "")) for size, _, rate in rates}
    assert min(speeds.values()) > 0
    assert found.num_workers == 1 or speeds[found.num_workers] == max(speeds.values())
    assert found.num_workers * found.num_threads == 4
    assert len(list((tmp_path / "logs").iterdir())) == 4
    monkeypatch.setattr("kilnet.tuning.backends.processes.LocalWorkers.start", None)
    assert allocate(None, speed_job(), tmp_path / "logs") == found


@pytest.mark.slow
def test_a_network_that_cannot_be_trained_is_left_to_one_worker(tmp_path):
    """The search then says why its trials fail."""
    job = replace(speed_job(), image_shape=(1, 4, 4))
    found = allocate(None, job, tmp_path / "logs")
    assert (found.num_workers, found.num_threads) == (1, 4)


def test_importing_a_search_leaves_optuna_as_it_is():
    code = "import optuna; before = optuna.logging.get_verbosity(); import kilnet.verbs.tune; "
    code += "assert optuna.logging.get_verbosity() == before"
    subprocess.run([sys.executable, "-c", code], check=True)
