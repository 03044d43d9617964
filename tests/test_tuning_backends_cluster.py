"""Machines of a cluster, as a search sees them: told by a process in the place of the one that speaks with Ray."""

import json
import sys

import pytest

from kilnet.errors import ConfigError, MissingPackageError, StorageError, WorkerError
from kilnet.recipes.reading import load_config
from kilnet.tuning.backends.cluster import ClusterWorkers
from kilnet.tuning.backends.jobs import Notice, TrainingJob
from speed_jobs import speed_job

# Tells what stands in a file: lines after "connected", and lines after each job.
BRIDGE = """#!{python}
import json, pathlib, sys
script = json.loads(pathlib.Path({script!r}).read_text())
def tell(lines):
    for line in lines:
        if line == "end":
            sys.exit(0)
        print(json.dumps(line), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message["kind"] == "close":
        break
    tell(script[message["kind"]].pop(0) if message["kind"] == "train" else script["measure"])
"""
ALLOCATION = {"num_workers": 2, "num_threads": 1, "reason": "as asked for"}
CONNECTED, COMPLETE = {"kind": "connected"}, {"kind": "complete"}


def joined(key="a", name="10.0.0.7"):
    return {"kind": "joined", "machine": key, "name": name, "allocation": ALLOCATION}


def event(kind, job="trial 1", key="a", **content):
    return {"kind": "event", "machine": key, "job": job, "event": {"kind": kind, "record": None, **content}}


def gone(key="a"):
    return {"kind": "gone", "machine": key, "reason": "no power"}


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Return a function that begins workers with a script for the bridge."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    fake, script = tmp_path / "python", tmp_path / "script.json"
    fake.write_text(BRIDGE.format(python=sys.executable, script=str(script)))
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    begun = []

    def begin(measure, train=(), wait_seconds=None):
        script.write_text(json.dumps({"measure": measure, "train": list(train)}))
        workers = ClusterWorkers("auto", wait_seconds)
        begun.append(workers)
        allocation = workers.allocate(None, speed_job(), tmp_path / "logs")
        return workers, allocation

    yield begin
    for workers in begun:
        workers.close()


def job_of(tmp_path, number=1):
    return TrainingJob(
        name=f"trial {number}",
        config=load_config(),
        folder=tmp_path / str(number),
        images=tmp_path / "images",
        until=1,
    )


def told(workers, number):
    found = []
    for _ in range(400):
        event = workers.next_event(0.05)
        found += [event] if event is not None else []
        if len(found) == number:
            return [
                event.line if isinstance(event, Notice) else (event.job.name, event.kind) for event in found
            ]
    raise AssertionError(found)


def test_machines_take_jobs_and_those_of_one_that_goes_are_lost(begin, tmp_path):
    second = [event("step", "trial 2", "b", step=1, num_steps=2), event("done", "trial 2", "b"), gone()]
    workers, allocation = begin([CONNECTED, joined(), joined("b", "10.0.0.8"), COMPLETE], [[], second])
    assert (allocation.num_workers, workers.num_idle) == (4, 4)
    assert str(allocation).startswith(
        "4 workers (machine 10.0.0.7 takes part: 2 workers with 1 thread each; "
    )
    assert len(told(workers, 2)) == 2
    workers.start(job_of(tmp_path, 1))
    workers.start(job_of(tmp_path, 2))  # on the other machine, which has more idle workers
    assert workers.num_idle == 2
    assert workers.machines == [("10.0.0.7", 1), ("10.0.0.8", 1)]
    line = "machine 10.0.0.7 is gone; its trials resume elsewhere"
    assert told(workers, 4) == [("trial 2", "step"), ("trial 2", "done"), line, ("trial 1", "lost")]
    assert workers.num_idle == 2


def test_a_job_that_takes_its_machine_along_again_and_again_has_crashed(begin, tmp_path):
    workers, _ = begin([CONNECTED, joined(), COMPLETE], [[gone(), joined()]] * 4)
    told(workers, 1)
    kinds = []
    for _ in range(4):
        workers.start(job_of(tmp_path))
        line, end, back = told(workers, 3)
        assert line == "machine 10.0.0.7 is gone; its trials resume elsewhere"
        assert back == "machine 10.0.0.7 takes part: 2 workers with 1 thread each"
        kinds.append(end[1])
        assert workers.num_idle == 2
    assert kinds == ["lost", "lost", "lost", "crashed"]


def test_without_machines_the_search_waits_as_long_as_it_should(begin, tmp_path, monkeypatch):
    monkeypatch.setattr("kilnet.tuning.backends.cluster._SECONDS_UNTIL_TOLD", 0.0)
    workers, _ = begin([CONNECTED, joined(), COMPLETE], [[gone()]], wait_seconds=1.0)
    workers.start(job_of(tmp_path))
    lines = told(workers, 4)
    assert lines[2] == ("trial 1", "lost")
    assert lines[3] == "no machine of the cluster is there; the search waits at most 1s for one"
    assert workers.num_idle == 0
    with pytest.raises(
        WorkerError, match=r"no machine of the cluster was there for \d+s; everything is saved"
    ):
        for _ in range(100):
            assert workers.next_event(0.1) is None


def test_a_cluster_that_goes_is_joined_again(begin, tmp_path):
    workers, _ = begin([CONNECTED, joined(), COMPLETE], [["end"]])
    workers.start(job_of(tmp_path))
    lines = told(workers, 4)
    assert lines[1:3] == ["machine 10.0.0.7 is gone; its trials resume elsewhere", ("trial 1", "lost")]
    assert lines[3] == lines[0] == "machine 10.0.0.7 takes part: 2 workers with 1 thread each"
    assert workers.num_idle == 2


def test_what_is_wrong_at_the_beginning_is_one_line(begin, tmp_path):
    refusal = {"kind": "refused", "reason": "machine 10.0.0.7 cannot take part: it has torch 1.0"}
    with pytest.raises(
        ConfigError, match=r"^`cluster='auto'`: machine 10.0.0.7 cannot take part: it has torch"
    ):
        begin([CONNECTED, refusal])
    with pytest.raises(ConfigError, match="no Ray cluster answers there"):
        begin(["end"])
    left_out = {"kind": "left out", "machine": "a", "name": "10.0.0.7", "reason": "a full\ndisk\x1b[31m"}
    workers, _ = begin([CONNECTED, joined(), COMPLETE, left_out])
    assert told(workers, 3)[-1].startswith("warning: machine 10.0.0.7 is left out: a full disk")
    workers, _ = begin([CONNECTED, joined(), COMPLETE, {"kind": "blocked", "reason": "no room"}])
    with pytest.raises(StorageError, match="no room"):
        told(workers, 3)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "nobody answers there (Connection refused)"),
        ("ray://head:10001", "write auto, or the host and port"),
        ("head", "write auto"),
        ("-x:99999", "nobody answers there"),
    ],
)
def test_an_address_where_nobody_answers_is_refused(begin, address, reason):
    with pytest.raises(ConfigError) as error:
        ClusterWorkers(address)
    assert str(error.value).startswith(f"`cluster={address!r}`: {reason}")


def test_without_ray_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("kilnet.tuning.backends.cluster.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'kilnet\[ray\]'"):
        ClusterWorkers("auto")
