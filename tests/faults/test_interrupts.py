"""Ctrl-C and SIGTERM at any moment end every verb within 3 seconds, with one line and exit code 130."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest

from commands import EVALUATE, REPORT, TRAIN, TUNE
from forks import ONE_THREAD

SECONDS = 3.0
VERBS = {
    "train": (*TRAIN, "--out", "new"),
    "evaluate": EVALUATE,
    "tune": (*TUNE, "--out", "new"),
    "finetune": ("finetune", "run", "--epochs", "2", "--json", "--out", "new"),
    "promote": ("promote", "search", "0", "--json", "--out", "new"),
    "inspect": ("inspect", "run", "--json"),
    "compare": ("compare", "run", "run", "--json"),
    "report": REPORT,
    "predict": ("predict", "run", "pictures", "--json"),
    "export": ("export", "run", "--json"),
    "serve": ("serve", "run", "--port", "0", "--json"),
    "data": ("data", "digits", "--json"),
    "recipes": ("recipes", "--json"),
    "settings": ("settings", "--json"),
    "doctor": ("doctor", "--json"),
}
# A program that has just begun, up to the import of torch: seconds of the processor after Python's own start.
EARLY = [0.03 + 0.05 * number for number in range(10)]
BEFORE_KILNET = "import atexit, contextlib, os, signal, sys, warnings"


@pytest.fixture(scope="module")
def home(kept, tmp_path_factory):
    """A folder with a run, a search and pictures."""
    return shutil.copytree(kept, tmp_path_factory.mktemp("home") / "kept")


@pytest.fixture(scope="module")
def seconds_of_python():
    """What Python takes, in seconds of the processor, before the first line of Kilnet: it differs between machines."""
    taken = []
    for _ in range(5):
        before = _processor_seconds_of_children()
        subprocess.run([sys.executable, "-c", BEFORE_KILNET], check=True)
        taken.append(_processor_seconds_of_children() - before)
    return max(taken)


def _processor_seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judge(campaign, case, code, err, seconds):
    """One line, 130, within 3 seconds; what had ended already is not counted."""
    if code == 0:
        return
    campaign.tried("interruptions")
    campaign.largest("seconds to end", seconds)
    lines = err.strip().splitlines()
    if len(lines) != 1 or not lines[0].startswith("kilnet: ") or code != 130:
        campaign.fail("traceback", case, f"exit {code}, {len(lines)} lines: {' / '.join(lines)[-300:]}")
    if seconds > SECONDS:
        campaign.fail("over limit", case, f"{seconds:.1f} s")


def test_interrupts_of_a_program_that_begins(campaign, home, seconds_of_python):
    cases = [
        (f"{verb}, {number.name} after {moment:.2f} s", (verb, number, moment))
        for verb in VERBS
        for number, moment in zip(cycle((signal.SIGINT, signal.SIGTERM)), EARLY, strict=False)
    ]
    for case, (verb, number, moment) in campaign.named(campaign.some(cases, 3, 30)):
        code, err, seconds = interrupted(home, VERBS[verb], number, seconds_of_python + moment)
        judge(campaign, case, code, err, seconds)
        shutil.rmtree(home / "new", ignore_errors=True)


def interrupted(home, words, number, moment):
    """Start a program and interrupt it; returns its exit code, standard error, and the seconds since."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kilnet", *words],
        cwd=home,
        env=os.environ | ONE_THREAD,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not (
        _processor_seconds(process.pid) >= moment and _listens(process.pid, number)
    ):
        time.sleep(0.001)
    process.send_signal(number)
    start = time.monotonic()
    try:
        err = process.communicate(timeout=20)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        err = process.communicate()[1]
    return process.returncode, err, time.monotonic() - start


def _processor_seconds(number):
    try:
        return int(Path(f"/proc/{number}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def _listens(process, number):
    """Whether the program has set its handler, before which the system ends it without a word."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def test_interrupts(campaign, parent, home):
    for verb in campaign.some(VERBS, 4, len(VERBS)):
        if verb != "serve":
            whole = parent.kilnet(*VERBS[verb], cwd=home)
            assert whole.code in (0, 1), whole.told
        shutil.rmtree(home / "new", ignore_errors=True)
        length = 3.0 if verb == "serve" else whole.seconds
        count = campaign.size(1, 2, 20)
        for number in range(count):
            moment = 0.003 + campaign.random(verb, number).uniform(number, number + 1) / count * length
            case = f"{verb} at {100 * moment / length:.1f}% of {length:.1f} s"
            if campaign.only not in case:
                continue
            options = {"signal": int(signal.SIGINT), "signal_after": moment}
            ending = parent.kilnet(*VERBS[verb], cwd=home, timeout=20, **options)
            judge(campaign, case, ending.code, ending.err, ending.seconds)
            if ending.num_orphans:
                campaign.fail("over limit", case, f"{ending.num_orphans} processes are there still")
            shutil.rmtree(home / "new", ignore_errors=True)
