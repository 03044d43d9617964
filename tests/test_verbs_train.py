"""Training with one call."""

import time

import pytest

import kilnet
from kilnet.errors import ConfigError
from made_up_machine import TINY, make_dataset


def test_train_takes_the_time_it_is_given_and_the_same_call_again_nothing_more(tmp_path, processor_time):
    dataset = make_dataset(num_train=120)
    start = time.process_time()
    run = kilnet.train(dataset, budget="4s", settings=TINY, out=tmp_path / "run", progress=False)
    assert 1.5 <= time.process_time() - start <= 4.2
    assert run.finished
    assert run.config.model.name == "FastNet"
    assert run.history[-1].lr < 0.05 * run.config.optimizer.lr
    assert run.config.training.epochs > 1
    before = {path: path.read_bytes() for path in run.folder.glob("*.*")}
    again = kilnet.train(dataset, budget="4s", settings=TINY, out=tmp_path / "run", progress=False)
    assert again.finished
    assert again.history == run.history
    assert {path: path.read_bytes() for path in run.folder.glob("*.*")} == before
    with pytest.raises(kilnet.errors.RunFolderError, match=r"budget\.seconds: 4\.0 -> 5\.0"):
        kilnet.train(dataset, budget="5s", settings=TINY, out=tmp_path / "run", progress=False)
    # The command that resumes it names its config.toml alone.
    kept = kilnet.train(
        dataset,
        recipe=run.folder / "config.toml",
        settings={"data.source": run.config.data.source},
        out=run.folder,
        progress=False,
    )
    assert kept.history == run.history


def test_a_budget_that_is_too_small_leaves_nothing_behind(tmp_path):
    with pytest.raises(ConfigError, match="too short"):
        kilnet.train(make_dataset(), budget="0.1s", settings=TINY, out=tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []
