"""What the campaign itself relies on: cases that repeat, operations that are counted, failures that are recorded."""

import importlib.util
import json
from pathlib import Path

import pytest

from campaign import Campaign
from operations import PHASES, Strike


def campaign_of(record=None, form="short", seed=0):
    return Campaign("rot of runs", form, seed, record=record)


def test_the_same_seed_chooses_the_same_cases():
    first, again, other = (campaign_of(seed=seed).some(range(1000), 10) for seed in (3, 3, 4))
    assert first == again == sorted(first)
    assert first != other
    assert campaign_of(form="full").some(range(1000), 10) == list(range(1000))


def test_a_failure_is_recorded_and_shown_on_the_page(tmp_path):
    campaign = campaign_of(tmp_path / "rot-of-runs.json")
    campaign.tried("damaged files", 7)
    campaign.fail("silent", "evaluate: run/weights.safetensors bit 3", "0.5 instead of 0.75")
    with pytest.raises(AssertionError, match=r"0\.5 instead"):
        campaign.finish()
    record = json.loads((tmp_path / "rot-of-runs.json").read_text())
    assert record["is_complete"]
    path = Path(__file__).parents[2] / "docs" / "make_faults.py"
    spec = importlib.util.spec_from_file_location("make_faults", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page(tmp_path)
    (row,) = [line for line in page.splitlines() if line.startswith("| **rot of runs**")]
    assert [cell.strip() for cell in row.split("|")][2:9] == ["7 damaged files", "0", "0", "0", "1", "0", "0"]
    assert "* silent: `evaluate: run/weights.safetensors bit 3`: `0.5 instead of 0.75`" in page
    assert "Not run to the end: kills of trainings" in page


def test_the_long_form_begins_no_case_when_its_time_is_over(monkeypatch):
    moment = [0.0]
    monkeypatch.setattr("campaign.time.monotonic", lambda: moment[0])
    cases = [(str(number), number) for number in range(10)]
    for form, num_tried in (("short", 10), ("long", 4), ("full", 10)):
        moment[0], tried = 0.0, []
        campaign = Campaign("rot of runs", form, 0, _start=0.0)
        for name, _ in campaign.named(cases):
            tried.append(name)
            moment[0] += 60
        assert len(tried) == num_tried


@pytest.fixture
def written(parent, tmp_path):
    """A file that is written in a fork, with a strike; returns how that ended and what is in the folder."""
    folder = tmp_path / "folder"

    def write(**options):
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        (folder / "file").write_bytes(b"old")
        ending = parent.call("commands:write_whole", folder / "file", folder=folder, **options)
        return ending, {path.suffix: path.read_bytes() for path in folder.iterdir()}

    return write


def test_every_operation_is_counted_and_can_be_the_last(written, tmp_path):
    ending, content = written(log=tmp_path / "log")
    assert (ending.code, content) == (0, {"": b"new content"})
    names = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert names[:4] == ["open", "write", "fsync", "rename"]
    ends = {}
    for number, name in enumerate(names[:4], 1):
        for phase in PHASES:
            ending, ends[name, phase] = written(strike=Strike(number, phase=phase))
            assert ending.was_killed
    assert ends["open", "before"] == {"": b"old"}
    assert ends["write", "before"] == {"": b"old", ".tmp": b""}
    assert ends["write", "in"] == {"": b"old", ".tmp": b"new c"}
    assert ends["fsync", "after"] == {"": b"old", ".tmp": b"new content"}
    assert ends["rename", "before"] == ends["fsync", "after"]
    assert ends["rename", "after"] == {"": b"new content"}


def test_an_operation_fails_once(written):
    ending, content = written(strike=Strike(2, "ENOSPC", "in"))
    assert (ending.code, content) == (1, {"": b"old"})
    assert "StorageError" in ending.err
    assert "No space left" in ending.err
    assert "commands.py" in ending.err
