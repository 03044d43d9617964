"""Runs that somebody else has made: none of their files chooses what is imported or executed."""

import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import kilnet
from kilnet.errors import ModelError, RunFolderError
from kilnet.inference.kept_tensors import read_tensors, write_tensors

pytest.importorskip("onnx")

RANDOM = np.random.default_rng(0)


VERBS = {
    "load": kilnet.load,
    "predict": lambda run: list(kilnet.predict(run, ["cat.png"])),
    "evaluate": lambda run: kilnet.evaluate(run, "validation", progress=False),
    "export": lambda run: kilnet.export(run, "torch", progress=False),
    "inspect": lambda run: kilnet.inspect(run, progress=False),
    "compare": lambda run: kilnet.compare(run, run, progress=False),
    "report": lambda run: kilnet.report(run, progress=False),
    "serve": lambda run: kilnet.serve(run, port=0, progress=False),
}


@pytest.fixture(scope="module")
def run(colour_run, tmp_path_factory):
    return shutil.copytree(colour_run, tmp_path_factory.mktemp("runs") / "run")


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def hostile(run, tmp_path, **description):
    """Return a copy of a run whose weights say something else of themselves."""
    copy = shutil.copytree(run, tmp_path / "hostile")
    tensors, kept = read_tensors(copy / "weights.safetensors")
    write_tensors(copy / "weights.safetensors", tensors, {**kept, **description})
    return copy


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "model",
    [
        {"name": "evil:build"},
        {"name": "torch.hub:load", "repo_or_dir": "some/body", "model": "net", "trust_repo": True},
    ],
    ids=["code beside the run", "code on the net"],
)
def test_a_run_cannot_choose_what_is_imported(run, verb, model, tmp_path, monkeypatch):
    marker = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\ndef build(**options): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.hub, "load", lambda *_, **__: marker.touch())
    with pytest.raises(RunFolderError, match=f"name it: `model={model['name']!r}`"):
        VERBS[verb](hostile(run, tmp_path, model=model))
    assert not marker.exists()
    assert "evil" not in sys.modules
    with pytest.raises(ModelError):
        kilnet.load(tmp_path / "hostile", model=model["name"])
    assert marker.exists(), "it would have shown"
    sys.modules.pop("evil", None)


def test_a_configuration_cannot_choose_what_is_imported_either(run, tmp_path, monkeypatch):
    """Checking labels by `inspect --folds` trains from it."""
    marker = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    copy = shutil.copytree(run, tmp_path / "hostile")
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace('name = "ConfigNet"', 'name = "evil:build"'))
    for verb in (*VERBS.values(), lambda run: kilnet.inspect(run, num_folds=2, progress=False)):
        with pytest.raises(
            RunFolderError, match=r"config.toml: its network is evil:build.* `model='evil:build'`"
        ):
            verb(copy)
    assert not marker.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_pickles_in_place_of_tensors_are_refused(run, verb, tmp_path):
    marker = tmp_path / "executed"
    for name, write in {
        "pickle": lambda path: path.write_bytes(pickle.dumps(Payload(marker))),
        "torch": lambda path: torch.save({"w": Payload(marker)}, path),
    }.items():
        copy = shutil.copytree(run, tmp_path / name)
        write(copy / "weights.safetensors")
        with pytest.raises(RunFolderError):
            VERBS[verb](copy)
    assert not marker.exists()


def test_other_files_of_a_run_are_data_too(run, tmp_path):
    marker = tmp_path / "executed"
    for name in ("calibration.json", "config.toml"):
        copy = shutil.copytree(run, tmp_path / name)
        (copy / name).write_bytes(pickle.dumps(Payload(marker)))
        with pytest.raises(RunFolderError):
            kilnet.load(copy)
    assert not marker.exists()


def test_a_network_of_ones_own_is_used_when_it_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "ownnets.py").write_text("from kilnet import ConfigNet as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = {"name": "ownnets:Mine", "c1": 6, "c2": 8, "l1": 16}
    own = kilnet.load(hostile(run, tmp_path, model=model), model="ownnets:Mine")
    with pytest.raises(RunFolderError, match="`model='ownnets:Mine'`"):
        kilnet.load(tmp_path / "hostile")
    images = RANDOM.integers(0, 256, (2, *own.image_shape), np.uint8)
    np.testing.assert_array_equal(own.logits(images), kilnet.load(run).logits(images))
