"""SIGKILL of a cross-validation and its workers at random moments: the same call again ends with the same table."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from digit_runs import SMALL


def num_epochs(out):
    """Return how many epochs a run and its folds have behind them."""
    counts = 0
    for path in out.rglob("history.csv"):
        with suppress(FileNotFoundError):
            counts += len(path.read_text("utf-8").splitlines()) - 1
    return counts


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_folds_killed_again_and_again_end_as_those_that_nobody_killed(tmp_path, pytestconfig):
    """Two processes train them; all is killed at some moment after the first epoch of each start."""
    program = (
        "import json, kilnet, sys; kilnet.cross_validate('digits', folds=5, workers=2, epochs=20, progress=False, "
        "settings=json.loads(sys.argv[2]), out=sys.argv[1])"
    )
    settings = {**SMALL, "training.checkpoint_seconds": 0.05}
    del settings["hardware.threads"]

    def start(out):
        words = [sys.executable, "-c", program, str(out), json.dumps(settings)]
        return subprocess.Popen(words, start_new_session=True)

    assert start(tmp_path / "whole").wait() == 0
    random = np.random.default_rng(0)
    out = shutil.copytree(tmp_path / "whole", tmp_path / "killed", ignore=shutil.ignore_patterns("folds"))
    for kill in range(20 if pytestconfig.getoption("--faults") == "full" else 10):
        process, before = start(out), num_epochs(out)
        while process.poll() is None and num_epochs(out) == before:
            time.sleep(0.01)
        time.sleep(float(random.uniform(0, 0.3)))
        assert process.poll() is None, f"over after {kill} kills"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert start(out).wait() == 0
    name = "folds/predictions-of-5.csv"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
