"""SIGKILL at random moments: the same command again ends with the same bytes."""

import json
import random
import subprocess
import sys
import time

import pytest

import kilnet
from kilnet.config import RunConfig
from kilnet.recipes.reading import load_config
from kilnet.training.run_folder import RunFolder

SETTINGS = {
    "model.c1": 4,
    "model.c2": 8,
    "model.l1": 16,
    "augment": "tutorial",
    "training.epochs": 3,
    "training.batch_size": 32,
    "training.checkpoint_seconds": 1e-6,  # after each step: most of the time is spent in writing the state
    "hardware.device": "cpu",
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
}

NUM_STEPS = 90  # at least so many of the run's writes are its state after a step

# Does what `kilnet train digits` does, and tells of each write.
SCRIPT = """
import json, sys
import kilnet.verbs.train
from kilnet.inference import kept_tensors

write_bytes = kept_tensors.write_bytes
def slow_write(path, content):
    write_bytes(path, content)
    print("written", flush=True)
kept_tensors.write_bytes = slow_write

kilnet.train("digits", settings=json.loads(sys.argv[2]), out=sys.argv[1], progress=False)
print("done", flush=True)
"""


def result(folder):
    return (folder / "weights.safetensors").read_bytes(), (folder / "history.csv").read_bytes()


def kill_until_done(folder, settings, num_kills):
    """Start the run again and again, killing it at random moments; returns how many kills hit it.

    A kill comes up to 30 ms after a random number of writes, few enough that the run cannot have ended before.
    """
    chance = random.Random(0)
    num_hits = 0
    command = [sys.executable, "-c", SCRIPT, str(folder), json.dumps(settings)]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if num_hits < num_kills:
            for _ in range(chance.randint(1, NUM_STEPS // num_kills - 1)):
                assert process.stdout.readline() == "written\n"
            time.sleep(chance.uniform(0, 0.03))
            process.kill()
        if process.communicate(timeout=300)[0].endswith("done\n"):
            return num_hits
        num_hits += 1


def check(tmp_path, settings, num_kills):
    whole = kilnet.train("digits", settings=settings, out=tmp_path / "whole", progress=False)
    assert kill_until_done(tmp_path / "killed", settings, num_kills) == num_kills
    assert result(tmp_path / "killed") == result(whole.folder)
    assert RunFolder(tmp_path / "killed").history() == list(whole.history)
    assert not list((tmp_path / "killed").rglob("*.tmp"))


@pytest.mark.slow
def test_killed_a_few_times(tmp_path):
    check(tmp_path, SETTINGS | {"hardware.threads": 1}, num_kills=3)


@pytest.mark.slow
def test_the_fast_recipe_killed_a_few_times(tmp_path):
    recipe, defaults = load_config("fast-digits").flat(), RunConfig().flat()
    settings = {key: value for key, value in recipe.items() if value != defaults.get(key)}
    settings |= {key: SETTINGS[key] for key in SETTINGS if not key.startswith(("model", "augment"))}
    settings |= {"training.low_resolution": [[0.5, 0.75]], "hardware.layout": "channels_last"}
    check(tmp_path, settings, num_kills=3)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_many_times(tmp_path, pytestconfig):
    num_kills = 20 if pytestconfig.getoption("--faults") == "full" else 8
    check(tmp_path, SETTINGS | {"hardware.threads": 2}, num_kills)
