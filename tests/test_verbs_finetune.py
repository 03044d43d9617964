"""Fine-tuning a run or a search."""

import shutil
import time
import tomllib

import pytest
from safetensors.numpy import load_file

import kilnet
from digit_searches import SETTINGS, SPACE
from kilnet.config import OptimizerConfig
from kilnet.errors import ConfigError, RunFolderError
from kilnet.training.run_folder import RunFolder
from kilnet.verbs.finetune import _default_lr
from made_up_machine import HARDWARE, TINY, make_dataset


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_search_is_fine_tuned(search):
    tuned = kilnet.finetune(search.folder, epochs=2, progress=False)
    config = tomllib.loads((tuned.folder / "config.toml").read_text())
    assert tuned.folder == search.folder / "finetuned"
    assert config["parent"] == str(search.winner.resolve())
    assert config["training"]["initial_weights"] == "parent"
    assert (config["training"]["epochs"], config["training"]["patience"]) == (2, 6)
    assert config["optimizer"]["lr"] == 0.0008
    parent_best = [record for record in RunFolder(search.winner).history() if record.is_best][-1]
    assert tuned.history[0].validation_accuracy > 0.8 * parent_best.validation_accuracy
    again = kilnet.finetune(search.folder, epochs=2, progress=False)
    assert again.history == tuned.history


def test_a_run_is_fine_tuned_from_its_weights_or_anew(search, tmp_path):
    parent = kilnet.train(
        "digits",
        settings=SETTINGS | {"model.c1": 16, "data.num_train": None},
        epochs=3,
        out=tmp_path / "run",
        device="cpu",
        progress=False,
    )
    options = {"epochs": 1, "lr": 1e-5, "progress": False}
    tuned = kilnet.finetune(parent, **options)
    anew = kilnet.finetune(parent.folder, anew=True, out=tmp_path / "anew", **options)
    assert tuned.folder == tmp_path / "run-finetuned"
    assert tuned.config.parent == anew.config.parent == str(parent.folder.resolve())
    assert tuned.config.seed == parent.config.seed + 1
    assert parent.best.validation_accuracy > 0.6
    assert tuned.history[0].validation_accuracy > parent.best.validation_accuracy - 0.1
    assert anew.history[0].validation_accuracy < 0.4
    assert anew.config.training.initial_weights == "random"


def test_an_unfinished_search_is_not_fine_tuned(tmp_path):
    options = {"workers": 1, "finalists": 1, "seeds": 1, "epochs": 2, "device": "cpu", "progress": False}
    kilnet.HyperSearch("digits", SPACE, settings=SETTINGS, out=tmp_path / "search", **options)
    with pytest.raises(RunFolderError, match="the search is not finished"):
        kilnet.finetune(tmp_path / "search", progress=False)


def test_all_of_a_network_whose_last_layer_was_fitted_is_fine_tuned(digit_runs, tmp_path):
    parent = shutil.copytree(digit_runs / "a", tmp_path / "parent")
    config = parent / "config.toml"
    config.write_text(config.read_text().replace('frozen = "nothing"', 'frozen = "features"'))
    tuned = kilnet.finetune(parent, epochs=1, progress=False)
    assert tuned.config.training.frozen == "statistics"
    before, after = (load_file(run / "weights.safetensors") for run in (parent, tuned.folder))
    assert all((before[name] != after[name]).any() for name in before if name.endswith(".weight"))


@pytest.mark.parametrize(
    ("name", "parent", "expected"),
    [("adam", 0.0003, "0.00024"), ("muon", 0.05, "0.01"), ("adam", 0.1, "0.0008")],
)
def test_the_default_rate_is_written_as_a_person_would(name, parent, expected):
    assert repr(_default_lr(OptimizerConfig(name=name, lr=parent))) == expected
