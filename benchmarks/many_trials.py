"""What the search itself costs with many trials: recorded histories are replayed as if by many workers.

    python benchmarks/many_trials.py SEARCH [--trials N] [--workers N] [--profile]
    python benchmarks/many_trials.py SEARCH --nodes 4 --epoch-seconds 2 1 0.5

SEARCH is the folder of a finished search; its longest histories are replayed in turn, each under another learning
rate. The loop, its folder and all files are real; only the arithmetic of training is left out. Prints trials and events
per second, the processor time of the search without that of its workers' part, its memory, and how many workers keep it
busy if a trial of one epoch takes a minute.

With --nodes a real Ray cluster of so many nodes is started on this machine, and its actors, object store and files are
real too: each worker writes --bytes of weights and of state, which the actor hands back. An epoch then lasts
--epoch-seconds, and what is printed is how near the search comes to workers that never wait, while there is work for
all: epochs a second, by how long one lasts, divided by the workers. Processor time is that of the search and of the
process that speaks with Ray for it; what the nodes need for themselves comes on top, on this same machine.
"""

import argparse
import cProfile
import os
import pstats
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from kilnet.config import ModelConfig, RunConfig
from kilnet.data.sources import load_dataset
from kilnet.storage import read_json, write_bytes, write_json
from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.allocation import Allocation
from kilnet.tuning.backends import cluster, cluster_bridge
from kilnet.tuning.backends.cluster_machine import Machine
from kilnet.tuning.backends.jobs import SpeedJob, TrainingJob, WorkerEvent, Workers
from kilnet.tuning.search import SearchLoop
from kilnet.tuning.search_folder import SearchFolder, add_early, correct_path, early_records

Histories = Sequence[tuple[EpochRecord, ...]]
_ORDERS = "KILNET_REPLAYED"  # names the file with what is replayed on a cluster


class ReplayingWorkers:
    """Workers that write what was recorded; each in turn tells of its next epoch.

    Args:
        num_workers: how many at most.
        histories: of the runs, told in turn.
        num_validation: images, of which nine in ten are right.
        epoch_seconds: how long an epoch lasts.
        num_bytes: of the weights, and of the state.
    """

    def __init__(
        self,
        num_workers: int,
        histories: Histories,
        num_validation: int,
        epoch_seconds: float = 0.0,
        num_bytes: int = 7,
    ) -> None:
        self._num_workers, self._histories, self._num_validation = num_workers, histories, num_validation
        self._epoch_seconds, self._content = epoch_seconds, bytes(num_bytes)
        self._jobs: deque[tuple[float, TrainingJob, float]] = deque()  # when, and how many epochs there are
        self.seconds = 0.0

    @property
    def num_idle(self) -> int:
        return self._num_workers - len(self._jobs)

    @property
    def machines(self) -> Sequence[tuple[str, int]]:
        return ()

    def start(self, job: TrainingJob) -> None:
        done: float = len(RunFolder(job.folder).history()) if job.folder.exists() else 0
        if not done and (early := early_records(job.folder)):
            done = early[-1].epoch
        self._jobs.append((time.monotonic() + self._next(done, job.until), job, done))

    def next_event(self, timeout_seconds: float) -> WorkerEvent | None:
        if not self._jobs or (wait := self._jobs[0][0] - time.monotonic()) > timeout_seconds:
            time.sleep(timeout_seconds)
            return None
        time.sleep(max(0.0, wait))
        start = time.process_time()
        due, job, done = self._jobs.popleft()
        folder = RunFolder(job.folder)
        if done < job.until:
            number = int(job.name.split()[1].rstrip(","))
            history = self._histories[number % len(self._histories)][: int(done) + 1]
            folder.state_path.parent.mkdir(parents=True, exist_ok=True)
            if self._epoch_seconds:
                write_bytes(folder.state_path, self._content)
            if job.until < 1:
                add_early(job.folder, early_of(history[-1], job.until))
                event = WorkerEvent(job=job, kind="done")
            else:
                folder.write_history(list(history))
                self._insert(due + self._next(int(done) + 1, job.until), job, int(done) + 1)
                event = WorkerEvent(job=job, kind="epoch", record=history[-1])
        else:
            if job.score_validation:
                with correct_path(job.folder).open("wb") as file:
                    np.save(file, np.arange(self._num_validation) % 10 > 0)
            write_bytes(folder.weights_path, self._content)
            event = WorkerEvent(job=job, kind="done")
        self.seconds += time.process_time() - start
        return event

    def _next(self, done: float, until: float) -> float:
        """Return for how long a job trains before its next event."""
        return self._epoch_seconds * max(0.0, min(int(done) + 1.0, until) - done)

    def _insert(self, due: float, job: TrainingJob, done: float) -> None:
        """Keep the jobs in the order in which they are due."""
        place = len(self._jobs)
        while place and self._jobs[place - 1][0] > due:
            place -= 1
        self._jobs.insert(place, (due, job, done))

    def close(self) -> None:
        self._jobs.clear()


def early_of(record: EpochRecord, epoch: float) -> EarlyRecord:
    """Return what is said within the first epoch, by its record."""
    loss, accuracy, *counts = (getattr(record, field.name) for field in fields(EarlyRecord)[1:5])
    return EarlyRecord(epoch, loss, accuracy, *counts)


def _leave_out_the_disk() -> None:
    os.fsync = lambda _: None  # its part is its own


def serve_as_bridge() -> None:
    """Be the process that speaks with Ray for a search, with machines that replay."""
    _leave_out_the_disk()
    orders = read_json(Path(os.environ[_ORDERS]))

    class ReplayingMachine(Machine):  # of the main module, so that Ray is told all of it
        def allocate(self, workers: int | None, *_: Any) -> Allocation:
            _leave_out_the_disk()
            histories = [tuple(EpochRecord(**record) for record in told) for told in orders["histories"]]
            numbers = orders["num_validation"], orders["epoch_seconds"], orders["num_bytes"]
            self._workers = ReplayingWorkers(workers or 1, histories, *numbers)  # type: ignore[assignment]
            return Allocation(workers or 1, 1, "they replay")

    cluster_bridge.Machine = ReplayingMachine  # type: ignore[misc]
    cluster_bridge.main()


def searched(recorded: SearchFolder, num_trials: int) -> Any:
    """Return the configuration of a search like the recorded one, with so many trials."""
    rates = {"low": 1e-4, "high": 1e-1, "log": True}
    size = {"num_trials": num_trials, "cohort": num_trials, "num_seeds": 1}
    changes = {"strategy": "random", "halving": True, "space": {"optimizer.lr": rates}, **size}
    return recorded.config().model_copy(update=changes)


def replay(
    config: Any, dataset: Any, workers: Workers, place: Path, profile: cProfile.Profile | None
) -> dict[str, float]:
    """Search with these workers in a folder; return what that took."""
    folder = SearchFolder(place)
    num_train, num_validation = len(dataset.train), len(dataset.validation)
    folder.begin(config, {"data": {"num_train": num_train, "num_validation": num_validation}})
    loop = SearchLoop(folder, lambda _: dataset, workers, disk_budget_bytes=10**10)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    if profile:
        profile.enable()
    kinds: list[str] = []
    trained: dict[Path, float] = {}
    ends: list[tuple[float, float]] = [(start, 0.0)]  # when, and how many epochs all have by then
    for event in loop:
        if isinstance(event, WorkerEvent):
            kinds.append(event.kind)
            job = cast("TrainingJob", event.job)
            if event.record or (event.kind == "done" and job.until < 1):
                now = event.record.epoch if event.record else job.until
                ends.append((time.monotonic(), ends[-1][1] + now - trained.get(job.folder, 0.0)))
                trained[job.folder] = now
    if profile:
        profile.disable()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.monotonic() - start,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "mib": (after.ru_maxrss - before.ru_maxrss) / 1024,
        "events": len(kinds),
        "epochs_per_second": _rate(ends),
    }


def _rate(ends: list[tuple[float, float]]) -> float:
    """Return the epochs per second while there is work for all: not where a search begins, nor where it ends."""
    (first, before), (last, after) = ends[len(ends) // 10], ends[len(ends) // 2]
    return (after - before) / (last - first)


def print_costs(found: dict[str, float], num_trials: int) -> None:
    used, num_events = found["cpu_seconds"], found["events"]
    print(f"processor time of the search: {used:.1f} s, {1000 * used / num_events:.2f} ms per event")
    print(f"trials per second of processor time: {num_trials / used:.1f}")
    print(f"memory: {found['mib']:.0f} MiB more than at the start")
    print(f"busy with {60 * num_trials / used:,.0f} workers whose trials take a minute each")


def on_ray(options: argparse.Namespace, config: Any, dataset: Any, histories: Histories) -> None:
    """Search through a Ray cluster of this machine, once for each --epoch-seconds."""
    from ray.cluster_utils import Cluster

    own_bridge = cluster.begin_python

    def begin_python(module: str, *others: Any) -> Any:
        is_bridge = module == cluster_bridge.__name__
        return own_bridge(Path(__file__).stem if is_bridge else module, *others)

    cluster.begin_python = begin_python  # type: ignore[assignment]
    per_node = options.workers // options.nodes
    hardware = config.run.hardware.model_copy(update={"device": "cpu", "threads": 1})
    run: RunConfig = config.run.model_copy(
        update={"hardware": hardware, "model": ModelConfig(name="ConvNet")}
    )
    job = SpeedJob(name="none", config=run, image_shape=(1, 8, 8), num_classes=10, seconds=0.0)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", _ORDERS: str(place / "orders.json")}
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        stack.callback(nodes.shutdown)
        for _ in range(options.nodes):
            nodes.add_node(num_cpus=per_node, object_store_memory=200 << 20)
        print(
            f"{options.nodes} nodes with {per_node} workers each; {options.bytes:,} bytes of weights, and of state"
        )
        for seconds in options.epoch_seconds:
            orders = {
                "num_validation": len(dataset.validation),
                "epoch_seconds": seconds,
                "num_bytes": options.bytes,
            }
            told = [[vars(record) for record in history] for history in histories]
            write_json(place / "orders.json", orders | {"histories": told})
            workers = cluster.ClusterWorkers(nodes.address)
            workers.allocate(per_node, job, place / "logs")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            folder = Path(tempfile.mkdtemp(dir=place))
            found = replay(config, dataset, workers, folder, None)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            bridge = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            part = found["epochs_per_second"] * seconds / (per_node * options.nodes)
            print(
                f"\nan epoch of {seconds:g} s: {options.trials:,} trials, {found['events']:,.0f} events in "
                f"{found['seconds']:.0f} s, {options.trials / found['seconds']:.1f} trials/s; "
                f"{part:.2f} of workers that never wait, from a tenth to the half of all reports"
            )
            print(f"processor time of the process that speaks with Ray: {bridge:.1f} s")
            print_costs(found, options.trials)
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("search", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--profile", action="store_true", help="without --nodes")
    parser.add_argument("--nodes", type=int, help="of a Ray cluster, which share the workers")
    parser.add_argument("--epoch-seconds", type=float, nargs="+", default=[2.0, 1.0, 0.5])
    parser.add_argument("--bytes", type=int, default=100_000)
    options = parser.parse_args()
    recorded = SearchFolder(options.search)
    runs = [*options.search.glob("trials/*"), *options.search.glob("finalists/*")]
    found = [recorded.history(run) for run in runs]
    histories = [tuple(history) for history in found if len(history) == max(map(len, found))]
    config = searched(recorded, options.trials)
    dataset = load_dataset(config.run.data)
    _leave_out_the_disk()
    if options.nodes:
        on_ray(options, config, dataset, histories)
        return
    profile = cProfile.Profile() if options.profile else None
    with tempfile.TemporaryDirectory() as place:
        workers = ReplayingWorkers(options.workers, histories, len(dataset.validation))
        costs = replay(config, dataset, workers, Path(place), profile)
    costs["cpu_seconds"] -= workers.seconds
    seconds, num_events = costs["seconds"], costs["events"]
    print(
        f"{options.trials:,} trials, {num_events:,.0f} events, {options.workers} workers: {seconds:.0f} s in all"
    )
    print_costs(costs, options.trials)
    if profile:
        pstats.Stats(profile).sort_stats("cumtime").print_stats(40)


if __name__ == "__main__":
    serve_as_bridge() if _ORDERS in os.environ else main()
