"""Fine-tuning a run or a search."""

import time

import pytest

import kilnet
from kilnet.errors import ConfigError
from made_up_machine import HARDWARE, TINY, make_dataset


def test_finetune_keeps_to_a_budget_too(tmp_path, processor_time):
    dataset = make_dataset()
    settings = TINY | {
        "model.name": "FastNet",
        "training.low_resolution": [[0.5, 0.75]],
        "training.keep": "last",
    }
    parent = kilnet.train(dataset, epochs=1, settings=settings, out=tmp_path / "parent", progress=False)
    start = time.process_time()
    options = {"data": dataset, "settings": HARDWARE, "progress": False}  # else threads would be measured
    tuned = kilnet.finetune(parent, budget="4s", out=tmp_path / "tuned", **options)
    assert 1.2 <= time.process_time() - start <= 4.2
    assert tuned.finished
    assert tuned.history[-1].lr < 0.05 * tuned.config.optimizer.lr
    assert tuned.config.training.patience is None
    assert tuned.config.training.keep == "best"
    assert tuned.config.optimizer.lr == pytest.approx(min(0.0008, 0.8 * parent.config.optimizer.lr))
    assert tuned.config.training.low_resolution == ()
    with pytest.raises(ConfigError, match="give one of them"):
        kilnet.finetune(parent, budget="2s", epochs=3, data=dataset, progress=False)
    # A run that was trained with a budget is fine-tuned without one, unless it is given.
    further = kilnet.finetune(tuned, epochs=2, data=dataset, out=tmp_path / "further", progress=False)
    assert further.config.budget.seconds is None
    assert len(further.history) == 2
    assert further.config.training.patience == 6


def test_muon_is_fine_tuned_at_a_rate_of_its_own(tmp_path, processor_time):
    settings = TINY | {"model.name": "FastNet", "optimizer.name": "muon", "optimizer.lr": 0.1}
    dataset = make_dataset()
    parent = kilnet.train(dataset, epochs=1, settings=settings, out=tmp_path / "parent", progress=False)
    tuned = kilnet.finetune(parent, epochs=1, data=dataset, out=tmp_path / "tuned", progress=False)
    assert tuned.config.optimizer.lr == pytest.approx(0.02)
