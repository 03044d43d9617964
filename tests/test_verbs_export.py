"""The verb that exports, and what it never replaces."""

import json
import sys
from pathlib import Path

import pytest

import kilnet
from kilnet import cli
from kilnet.errors import InputError

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture
def run(exports):
    return exports["onnx"].path.parents[2]


def test_nothing_but_an_older_export_is_replaced(run, exports, tmp_path):
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(InputError, match=r"README.md exists"):
        kilnet.export(run, "torch", out=tmp_path / "model.pt2", progress=False)
    (tmp_path / "thesis.pt2").write_text("years of work")
    with pytest.raises(InputError, match="Kilnet did not export it"):
        kilnet.export(run, "torch", out=tmp_path / "thesis.pt2", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "thesis.pt2"]
    again = kilnet.export(run, "torch", progress=False)
    assert again.path == exports["torch"].path


@pytest.mark.parametrize("num_written", [1, 2])
def test_an_export_that_was_killed_between_its_files_can_be_made_again(
    run, tmp_path, monkeypatch, num_written
):
    out, written, replace = tmp_path / "model.pt2", [], Path.replace

    def replace_and_die(source, target):
        replace(source, target)
        written.extend([target] if target.parent == tmp_path else [])
        if len(written) == num_written:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_and_die)
        with pytest.raises(KeyboardInterrupt):
            kilnet.export(run, "torch", out=out, progress=False)
    assert set(tmp_path.iterdir()) == set(written)
    made = kilnet.export(run, "torch", out=out, progress=False)
    assert made.verification.breach() is None
    assert len(list(tmp_path.iterdir())) == 3


def test_command_prints_the_verification(run, tmp_path, monkeypatch, capfd):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kilnet", "export", str(run), *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as done:
            cli.main()
        return (done.value.code, *capfd.readouterr())

    code, out, _ = call("--format", "torch", "--out", tmp_path / "net.pt2")
    assert code == 0
    assert "same class             100.00%" in out
    code, out, err = call("--format", "torch", "--out", tmp_path / "net.pt2", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["proof"]["agreement"] == 1
    assert list(told) == ["path", "format", "num_bytes", "sha256", "runtime", "images", "proof"]
    code, out, err = call("--format", "tflite")
    assert code == 2
    assert err == "kilnet: --format tflite: there are onnx, torch, int8\n"
