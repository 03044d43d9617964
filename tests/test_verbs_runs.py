"""Listing runs in one call, and from the command line."""

import csv
import io
import json

import kilnet
from listed_runs import ENVIRONMENT, make_run


def test_runs_are_chosen_and_ordered(tmp_path):
    for number in range(4):
        make_run(tmp_path / f"r{number}", 150 + 10 * number, {"optimizer.lr": 0.1 * (1 + number % 2)})
    found = kilnet.list_runs(tmp_path, where=["lr=0.2"], sort="accuracy")
    assert [run.path.name for run in found] == ["r3", "r1"]
    assert [run.path.name for run in kilnet.list_runs(tmp_path, sort="accuracy", reverse=True)] == [
        "r0",
        "r1",
        "r2",
        "r3",
    ]
    assert kilnet.list_runs(tmp_path) == kilnet.list_runs(tmp_path, reverse=True)[::-1]


def test_the_command_line_prints_a_table_csv_or_json(tmp_path, command):
    make_run(tmp_path / "a run", 150, test=0.75)
    make_run(tmp_path / "b", 170, {"optimizer.lr": 0.5})
    make_run(tmp_path / "other data", 190, environment={"data": {**ENVIRONMENT["data"], "fingerprint": "g"}})
    code, out, err = command("runs", tmp_path, "--sort", "accuracy", "--where", "accuracy<90%")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[-1] for line in lines[2:4]] != []
    assert "85.00%" in lines[2]
    assert "75.00%" in lines[3]
    assert lines[-2] == "2 runs"
    assert lines[-1] == f"next: kilnet compare {tmp_path / 'b'} '{tmp_path / 'a run'}'"
    assert command("runs", tmp_path)[1].splitlines()[-1] == lines[-1], "runs of other data cannot be compared"
    code, out, err = command("runs", tmp_path, "--sort", "lr", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["optimizer.lr"] for row in rows] == ["0.5", "0.001", "0.001"]
    assert {row["test.accuracy"] for row in rows} == {"0.75", ""}
    code, out, err = command("runs", tmp_path, "--json")
    assert (code, err) == (0, "")
    assert {run["path"] for run in json.loads(out)["runs"]} == {
        str(tmp_path / name) for name in ("a run", "b", "other data")
    }


def test_no_runs_and_wrong_words(tmp_path, command, refusal):
    code, out, _ = command("runs", tmp_path)
    assert code == 0
    assert out.splitlines() == ["no runs", "next: kilnet train digits --budget 30s"]
    make_run(tmp_path / "a")
    assert "did you mean accuracy" in refusal("runs", tmp_path, "--sort", "acuracy")[1]
    assert "--where lr: write a condition as" in refusal("runs", tmp_path, "--where", "lr")[1]


def test_one_run_alone_gets_its_report_and_then_more_training(tmp_path, command):
    run = make_run(tmp_path / "a run")
    assert command("runs", tmp_path)[1].splitlines()[-1] == f"next: kilnet report '{run}'"
    (run / "report.html").touch()
    assert command("runs", tmp_path)[1].splitlines()[-1] == f"next: kilnet finetune '{run}' --budget 5m"
