"""The verb that writes a page."""

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import kilnet
from kilnet.cli import app
from kilnet.errors import RunFolderError

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture
def run(tmp_path, colour_run):
    return shutil.copytree(colour_run, tmp_path / "run")


def test_bad_folders_are_one_line(tmp_path, run):
    with pytest.raises(RunFolderError, match="no such run folder"):
        kilnet.report(tmp_path / "nothing", progress=False)
    kilnet.evaluate(run, "validation", progress=False)
    (run / "evaluation-validation" / "predictions.csv").unlink()
    with pytest.raises(RunFolderError, match="evaluate again"):
        kilnet.report(run, progress=False)
    assert not (run / "report.html").exists()


def test_command_line_names_the_file(run):
    outcome = CliRunner().invoke(app, ["report", str(run)])
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith(str(run / "report.html"))
    outcome = CliRunner().invoke(app, ["report", str(run), "--json"])
    answer = json.loads(outcome.stdout)
    assert answer == {"report": str(run / "report.html"), "num_bytes": (run / "report.html").stat().st_size}


def kilnet_command(*words):
    return subprocess.run([sys.executable, "-m", "kilnet", *map(str, words)], capture_output=True, text=True)


def test_the_page_of_a_run_imports_nothing_that_only_a_search_or_a_compiler_needs(run):
    kilnet.evaluate(run, "validation", progress=False)
    program = f"""
import sys
import kilnet
kilnet.report({str(run)!r}, progress=False)
late = ("matplotlib", "optuna", "scipy.stats", "torch._dynamo", "kilnet.tuning")
print([name for name in late if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_the_report_as_json_and_as_tables(search):
    told = kilnet_command("report", search.folder, "--json")
    assert told.returncode == 0, told.stderr
    content = json.loads(told.stdout)
    expected = json.loads(json.dumps(search.summary.to_dict()))
    assert {key: content[key] for key in expected} == expected
    told = kilnet_command("report", search.folder)
    assert told.returncode == 0
    for part in (
        "Trials",
        "accuracy",
        "c1",
        "d1",
        "epochs",
        "Finalists",
        "What matters",
        "test accuracy",
        "best: trial",
    ):
        assert part in told.stdout
    refused = kilnet_command("report", search.folder.parent)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no run here" in refused.stderr
