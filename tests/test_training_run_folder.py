"""The files of a run."""

import json

import filelock
import pytest

from kilnet.errors import (
    BusyError,
    RunFolderError,
)
from kilnet.training.run_folder import RunFolder
from small_runs import train


def test_the_folder_holds_what_is_promised(tmp_path):
    run = train(tmp_path / "run")
    folder = run.folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        ".lock",
        "calibration.json",
        "config.toml",
        "environment.json",
        "history.csv",
        "plots/learning-curves.png",
        "state/state.safetensors",
        "timing.csv",
        "weights.safetensors",
    }
    assert len(run.history) == 2
    assert tuple(RunFolder(folder).history()) == run.history
    assert json.loads((folder / "environment.json").read_text())["data"]["num_train"] == 60


def test_records_know_how_many_images_were_validated(tmp_path):
    run = train(tmp_path / "run")
    assert [record.num_validation for record in run.history] == [20, 20]
    assert "num_validation," not in (run.folder / "history.csv").read_text()
    (run.folder / "environment.json").unlink()
    (run.folder / "state" / "state.safetensors").unlink()  # which knows too
    assert [record.num_validation for record in RunFolder(run.folder).history()] == [0, 0]


def test_two_processes_do_not_share_a_folder(tmp_path):
    run = train(tmp_path / "run")
    with filelock.FileLock(run.folder / ".lock"), pytest.raises(BusyError, match="another process"):
        train(tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"file.run: cannot be written: .*`out`"):
        train(tmp_path / "file" / "run")


def test_a_damaged_state_is_named_and_left(tmp_path):
    folder = RunFolder(train(tmp_path / "run").folder)
    content = folder.state_path.read_bytes()[:1000]
    folder.state_path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"state\.safetensors: damaged .* delete it to begin again"):
        train(tmp_path / "run")
    assert folder.state_path.read_bytes() == content


def test_epochs_outlive_the_state_with_a_checksum_until_the_run_begins_again(tmp_path):
    run = train(tmp_path / "run")
    folder = RunFolder(run.folder)
    folder.delete_state()
    assert not folder.has_state
    folder.history_path.write_text(folder.history_path.read_text().replace("1", "2"))
    assert tuple(folder.history()) == run.history
    kept = folder.kept_history_path.read_text()
    folder.kept_history_path.write_text(kept.replace('"epoch": 1', '"epoch": 3'))
    with pytest.raises(RunFolderError, match=r"history\.json: damaged \(its checksum is wrong"):
        folder.history()
    folder.kept_history_path.write_text(kept)
    assert train(tmp_path / "run").history == run.history
    assert folder.has_state
    assert not folder.kept_history_path.exists()
