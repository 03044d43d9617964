"""Searches on a real Ray, its nodes on this machine: the table of one machine, whatever is killed in between."""

import importlib.metadata
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import kilnet
import two_machines
from digit_searches import SETTINGS
from kilnet.errors import ConfigError, WorkerError
from kilnet.tuning.backends.jobs import Notice

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
if sys.platform != "linux":
    pytest.skip("finds workers in /proc", allow_module_level=True)

MARK = "KILNET_TEST_OF_CLUSTERS"
SPACE = {"model.c1": [4, 8]}
OPTIONS = {"finalists": 1, "seeds": 1, "epochs": 4, "device": "cpu", "progress": False}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """No process of Ray reports to its makers, and no cluster of this machine is joined by accident."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", "/tmp/kilnet-tests")  # noqa: S108 sockets need short paths
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv(MARK, str(os.getpid()))  # by which workers are found
        yield


@pytest.fixture(scope="module")
def head():
    """A cluster whose head has no CPUs."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(head):
    """The cluster, to which nodes are added for one test."""
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node, allow_graceful=False)


def table(folder):
    """What a search has found, without what the clock writes; checks that no epoch is lost or doubled."""
    rows, epochs, weights = two_machines.table(folder)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in epochs)
    assert not list(folder.rglob("*.tmp"))
    return rows, epochs, weights


@pytest.fixture(scope="module")
def of_one_machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "one"
    kilnet.HyperSearch("digits", SPACE, settings=SETTINGS, out=folder, workers=1, **OPTIONS).optimize()
    return table(folder)


def search_on(address, folder, **options):
    return kilnet.HyperSearch(
        "digits", SPACE, settings=SETTINGS, out=folder, cluster=address, **OPTIONS, **options
    )


def processes_here(word=b"kilnet-ray-"):
    """The processes of this test whose command line has a word; by default those of Ray that Kilnet has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
            where = (path / "environ").read_bytes()
        except OSError:
            continue
        if word in words and f"{MARK}={os.getpid()}".encode() in where:
            found.append(int(path.name))
    return found


def workers_here():
    """The processes that train on machines of a cluster."""
    return processes_here(b"kilnet.tuning.backends.worker")


def test_a_node_with_another_version_is_refused_in_one_line(cluster, tmp_path):
    planted = tmp_path / "packages" / "torch-9.9.dist-info"
    planted.mkdir(parents=True)
    (planted / "METADATA").write_text("Name: torch\nVersion: 9.9\n")
    path = [str(planted.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": os.pathsep.join(path)})
    own = torch.__version__.partition("+")[0]
    told = f"cannot take part: it has torch 9.9, not {own}; install the same versions there"
    with pytest.raises(ConfigError, match=rf"^`cluster='{cluster.address}'`: machine \S+ {told}$"):
        search_on(cluster.address, tmp_path / "search")
    assert not (tmp_path / "search" / "search.toml").exists()


def test_a_cluster_with_another_ray_is_refused_in_one_line(cluster, tmp_path):
    place = b"CLUSTER_METADATA", b"cluster"  # where Ray keeps its versions, which it compares by itself
    store = cluster.head_node.get_gcs_client()
    written = store.internal_kv_get(*place)
    planted = json.dumps(json.loads(written) | {"ray_version": "2.0.0"}).encode()
    try:
        store.internal_kv_put(place[0], planted, True, place[1])
        own = importlib.metadata.version("ray")
        told = f"it has Ray 2.0.0, not {own}; install the same versions there"
        with pytest.raises(ConfigError, match=f"^`cluster='{cluster.address}'`: {told}$"):
            search_on(cluster.address, tmp_path / "search")
    finally:
        store.internal_kv_put(place[0], written, True, place[1])


def test_a_part_of_a_gpu_is_asked_of_ray_and_refused_where_there_is_none(cluster, tmp_path):
    cluster.add_node(num_cpus=2)
    told = "no machine has a GPU; `gpus_per_trial=0.5` needs one"
    with pytest.raises(ConfigError, match=f"^`cluster='{cluster.address}'`: {told}$"):
        search_on(cluster.address, tmp_path / "search", gpus_per_trial=0.5)
    cluster.add_node(num_cpus=2, num_gpus=1)  # Ray believes it, and the trials train on the CPU
    search = search_on(cluster.address, tmp_path / "search", gpus_per_trial=0.5)
    assert "2 workers with 1 thread each" in search.allocation.reason
    events = iter(search)
    while getattr(next(events), "kind", "") != "epoch":
        pass
    seen = [Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in workers_here()]
    assert [b"CUDA_VISIBLE_DEVICES=0" in environment for environment in seen] == [True, True]
    events.close()


def test_a_cluster_of_this_machine_alone_ends_with_the_search(tmp_path, of_one_machine, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where no cluster is known
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before, most = set(Path(tempfile.gettempdir()).glob("kilnet-*")), 0
    for _ in search_on("auto", tmp_path / "own"):
        for folder in set(Path(tempfile.gettempdir()).glob("kilnet-ray-*")) - before:
            with suppress(FileNotFoundError):
                files = [path.lstat() for path in folder.rglob("*")]
                most = max(most, sum(file.st_size for file in files if stat.S_ISREG(file.st_mode)))
    assert table(tmp_path / "own") == of_one_machine
    assert 0 < most < 16 << 20  # logs, and nothing spilled
    assert set(Path(tempfile.gettempdir()).glob("kilnet-*")) <= before
    assert not (tmp_path / "home").exists()  # where Ray would keep a token
    assert not processes_here()


def test_a_worker_and_a_node_are_killed_and_another_joins(cluster, tmp_path, of_one_machine):
    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    lines, num_epochs = [], 0
    for event in search_on(cluster.address, tmp_path / "killed", workers=1):
        if isinstance(event, Notice):
            lines.append(event.line)
            if event.line == "no machine of the cluster is there; the search waits for one":
                cluster.add_node(num_cpus=1)
            continue
        num_epochs += event.kind == "epoch"
        if event.kind == "epoch" and num_epochs == 1:
            os.kill(workers_here()[0], signal.SIGKILL)
        if event.kind == "epoch" and num_epochs == 3:
            for node in nodes:  # no machine is left
                cluster.remove_node(node, allow_graceful=False)
    assert sum("is gone; its trials resume elsewhere" in line for line in lines) == 2
    assert sum("takes part: 1 worker with 1 thread each" in line for line in lines) == 3
    assert table(tmp_path / "killed") == of_one_machine


def test_the_head_is_killed_and_the_same_command_resumes_on_a_new_one(tmp_path, of_one_machine):
    cluster_utils = pytest.importorskip("ray.cluster_utils")

    def begin():
        options = {"num_cpus": 1, "include_dashboard": False}
        return cluster_utils.Cluster(initialize_head=True, head_node_args=options)

    head, lines = begin(), []
    told = (
        r"^no machine of the cluster was there for \d+s; everything is saved, and the same command resumes$"
    )
    with pytest.raises(WorkerError, match=told):
        for event in search_on(head.address, tmp_path / "killed", workers=1, wait="4s"):
            lines += [event.line] if isinstance(event, Notice) else []
            if not isinstance(event, Notice) and event.kind == "epoch" and head.head_node:
                head.remove_node(head.head_node, allow_graceful=False)
    assert lines[-2].endswith(" is gone; its trials resume elsewhere")
    assert lines[-1] == "no machine of the cluster is there; the search waits at most 4s for one"
    assert not workers_here()
    new = begin()
    list(search_on(new.address, tmp_path / "killed", workers=1))
    new.shutdown()
    assert table(tmp_path / "killed") == of_one_machine


def test_the_search_is_killed_and_the_same_command_resumes(cluster, tmp_path, of_one_machine):
    cluster.add_node(num_cpus=1)
    folder = tmp_path / "killed"
    words = [
        sys.executable,
        "-m",
        "kilnet",
        "tune",
        "digits",
        "--cluster",
        cluster.address,
        "--out",
        str(folder),
    ]
    words += ["--finalists", "1", "--seeds", "1", "--epochs", "4", "--device", "cpu"]
    for key, value in SETTINGS.items():
        words += ["--set", f"{key}={value}"]
    for key, values in SPACE.items():
        words += ["--space", f"{key}={','.join(map(str, values))}"]
    search = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(folder.glob("trials/*/state/state.safetensors")):
        assert search.poll() is None
        time.sleep(0.1)
    search.kill()
    search.wait()
    found = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr
    assert "ray" not in found.stderr.lower().replace(str(folder).lower(), "")
    assert table(folder) == of_one_machine


def test_folds_trained_on_a_cluster_predict_what_those_of_one_machine_do(cluster, tmp_path):
    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    options = {"folds": 3, "epochs": 3, "settings": SETTINGS | {"data.num_train": 300}, "device": "cpu"}
    here = kilnet.cross_validate("digits", workers=1, out=tmp_path / "here", progress=False, **options)
    there = tmp_path / "there"
    shutil.copytree(here.run, there, ignore=shutil.ignore_patterns("folds"))

    def kill_node():
        while not list(there.glob("folds/*/history.csv")):
            time.sleep(0.01)
        cluster.remove_node(nodes[0], allow_graceful=False)

    thread = threading.Thread(target=kill_node)
    thread.start()
    on_cluster = kilnet.cross_validate(
        "digits", out=there, cluster=cluster.address, progress=False, **options
    )
    thread.join()
    assert on_cluster.predictions.read_bytes() == here.predictions.read_bytes()
    assert sorted(path.name for path in (there / "folds").iterdir()) == sorted(
        path.name for path in (here.run / "folds").iterdir()
    )
