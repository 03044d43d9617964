"""What the search itself costs with many trials: recorded histories are replayed as if by many workers.

    python benchmarks/many_trials.py SEARCH [--trials N] [--workers N] [--profile]

SEARCH is the folder of a finished search; its longest histories are replayed in turn, under another learning rate each.
The loop, its folder and all files are real; only the arithmetic of training is left out. Prints trials and events per
second, the processor time of the search without that of its workers' part, its memory, and how many workers keep it
busy if a trial of one epoch takes a minute.
"""

import argparse
import cProfile
import os
import pstats
import resource
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy as np

from kilnet.data.sources import load_dataset
from kilnet.storage import write_bytes
from kilnet.training.records import EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.backends.jobs import TrainingJob, WorkerEvent
from kilnet.tuning.search import SearchLoop
from kilnet.tuning.search_folder import SearchFolder, correct_path


class ReplayingWorkers:
    """Workers that write at once what was recorded; each in turn tells of its next epoch."""

    def __init__(
        self, num_workers: int, histories: list[tuple[EpochRecord, ...]], num_validation: int
    ) -> None:
        self._num_workers, self._histories, self._num_validation = num_workers, histories, num_validation
        self._jobs: deque[TrainingJob] = deque()
        self._lengths: dict[Path, int] = {}
        self.seconds = 0.0

    @property
    def num_idle(self) -> int:
        return self._num_workers - len(self._jobs)

    def start(self, job: TrainingJob) -> None:
        self._jobs.append(job)

    def next_event(self, timeout_seconds: float) -> WorkerEvent:  # noqa: ARG002 of the protocol
        start = time.process_time()
        job = self._jobs.popleft()
        length = self._lengths.get(job.folder, 0)
        if length < job.until:
            number = int(job.folder.name.partition("-")[0])
            history = self._histories[number % len(self._histories)][: length + 1]
            folder = RunFolder(job.folder)
            folder.state_path.parent.mkdir(parents=True, exist_ok=True)
            folder.write_history(list(history))
            self._lengths[job.folder] = length + 1
            self._jobs.append(job)
            event = WorkerEvent(job=job, kind="epoch", record=history[-1])
        else:
            if job.score_validation:
                with correct_path(job.folder).open("wb") as file:
                    np.save(file, np.arange(self._num_validation) % 10 > 0)
            write_bytes(RunFolder(job.folder).weights_path, b"weights")
            event = WorkerEvent(job=job, kind="done")
        self.seconds += time.process_time() - start
        return event

    def close(self) -> None:
        self._jobs.clear()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("search", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    recorded = SearchFolder(options.search)
    runs = [*options.search.glob("trials/*"), *options.search.glob("finalists/*")]
    found = [recorded.history(run) for run in runs]
    histories = [history for history in found if len(history) == max(map(len, found))]
    rates = {"low": 1e-4, "high": 1e-1, "log": True}
    size = {"num_trials": options.trials, "cohort": options.trials, "num_seeds": 1}
    config = recorded.config().model_copy(
        update={"strategy": "random", "halving": True, "space": {"optimizer.lr": rates}, **size}
    )
    dataset = load_dataset(config.run.data)
    os.fsync = lambda _: None  # the disk's part is that of the disk
    with tempfile.TemporaryDirectory() as place:
        folder = SearchFolder(Path(place))
        num_train, num_validation = len(dataset.train), len(dataset.validation)
        folder.begin(config, {"data": {"num_train": num_train, "num_validation": num_validation}})
        workers = ReplayingWorkers(options.workers, histories, num_validation)
        loop = SearchLoop(folder, lambda _: dataset, workers, disk_budget_bytes=10**10)
        before, start, profile = (
            resource.getrusage(resource.RUSAGE_SELF),
            time.monotonic(),
            cProfile.Profile(),
        )
        if options.profile:
            profile.enable()
        num_events = sum(1 for _ in loop)
        profile.disable()
        seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - workers.seconds
    print(
        f"{options.trials:,} trials, {num_events:,} events, {options.workers} workers: {seconds:.0f} s in all"
    )
    print(f"processor time of the search: {used:.1f} s, {1000 * used / num_events:.2f} ms per event")
    print(f"trials per second of processor time: {options.trials / used:.1f}")
    print(f"memory: {(after.ru_maxrss - before.ru_maxrss) / 1024:.0f} MiB more than at the start")
    print(f"busy with {60 * options.trials / used:,.0f} workers whose trials take a minute each")
    if options.profile:
        pstats.Stats(profile).sort_stats("cumtime").print_stats(40)


if __name__ == "__main__":
    main()
