"""The verb that serves a review: what it refuses in one line, and what it says at its end."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse

import pytest

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

import kilnet
from corrections_tables import write
from kilnet.data.corrections import read_corrections


@pytest.fixture
def run(colour_run, tmp_path):
    return shutil.copytree(colour_run, tmp_path / "run")


def test_what_cannot_be_reviewed_is_one_line(refusal, run, tmp_path, monkeypatch):
    assert refusal("review", run, "--port", 70000) == (2, "kilnet: --port 70000: ports are 0 to 65535\n")
    code, line = refusal("review", tmp_path / "none", "--port", 0)
    assert (code, line) == (2, f"kilnet: {tmp_path / 'none'}: no such run folder\n")
    for out, told in (("c.txt", "ends in .csv"), ("gone/c.csv", f"there is no folder {tmp_path / 'gone'}")):
        code, line = refusal("review", run, "--port", 0, "--out", tmp_path / out)
        assert code == 2
        assert line.startswith(f"kilnet: --out {tmp_path / out}: ")
        assert told in line
    code, line = refusal("review", run, "--port", 0, "--unlabelled", tmp_path / "gone")
    assert (code, line) == (2, f"kilnet: --unlabelled {tmp_path / 'gone'}: no such folder\n")
    code, line = refusal("review", run, "--port", 0, "--count", 0)
    assert (code, line) == (2, "kilnet: --count 0: must be at least 1\n")
    (tmp_path / "other.csv").write_text("name\nx\n")
    code, line = refusal("review", run, "--port", 0, "--out", tmp_path / "other.csv")
    assert "no table of corrections" in line
    assert (tmp_path / "other.csv").read_text() == "name\nx\n"
    for name in [name for name in sys.modules if name.startswith("kilnet.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, line = refusal("review", run)
    assert code == 1
    assert "pip install 'kilnet[serve]'" in line


def ask(url, content=None):
    at = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    body = None if content is None else json.dumps(content)
    connection.request("GET" if body is None else "POST", at.path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    content = json.load(answer)
    connection.close()
    assert answer.status == 200, content
    return content


@pytest.mark.slow
def test_answers_outlive_the_process_and_the_end_names_the_next_command(run, colour_run, tmp_path):
    """A picture of another class in a folder is found, answered, still there after a restart, and trained with."""
    photos = colour_run.parent / "pictures"
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    environment = {**os.environ, "KILNET_CACHE": str(tmp_path / "cache")}

    def reviewing(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "kilnet", "review", str(run), "--port", "0", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    with reviewing("--json") as process:
        url = json.loads(process.stdout.readline())["url"]
        review = ask(f"{url}api/review")
        first = review["items"][review["order"][0]]
        assert first["split"] in ("train", "validation")
        other = next(name for name in review["classes"] if name != first["label"])
        number = review["order"][0]
        told = ask(f"{url}api/answers", {"number": number, "verdict": "wrong", "correction": other})
        assert told["answer"] == {"verdict": "wrong", "correction": other}
        process.kill()
    with reviewing() as process:
        url = process.stdout.readline().split()[0]
        review = ask(f"{url}api/review")
        assert [item["answer"] for item in review["items"] if item["name"] == first["name"]] == [
            told["answer"]
        ]
        has_test = ask(f"{url}api/test", {"understood": True})
        assert has_test == {}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    table = run / "corrections.csv"
    assert process.returncode == 0, err
    assert f"1 answer in {table}: wrong 1" in out
    assert out.splitlines()[-1].startswith("next: kilnet train ")
    assert out.splitlines()[-1].endswith(f"--recipe {run / 'config.toml'} --corrections {table}")
    assert json.loads((run / "evaluation.json").read_text())["test"]["num_reads"] == 1
    assert read_corrections(table).rows[first["name"]].correction == other
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before


@pytest.mark.slow
def test_a_review_of_a_corrected_run_begins_with_its_corrections(colour_run, tmp_path, monkeypatch):
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "cache"))
    table = write(tmp_path / "c.csv", ("green/0.png", "green", "wrong", "blue <b>"))
    settings = {"data.corrections": str(table), "training.epochs": 1}
    recipe = colour_run / "config.toml"
    run = kilnet.train(
        colour_run.parent / "pictures", recipe=recipe, settings=settings, out=tmp_path / "run", progress=False
    )
    table.unlink()

    def stop(_):
        raise KeyboardInterrupt

    found = kilnet.review(run, port=0, started=stop, progress=False)
    assert found.counts == {"wrong": 1}
    assert not found.file.exists(), "nothing was answered"
    assert found.next_call.endswith(
        f"settings={{'data.corrections': {str(run.folder / 'corrections.csv')!r}}})"
    )
