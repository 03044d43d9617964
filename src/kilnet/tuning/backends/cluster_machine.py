"""One machine of a cluster: trains in scratch folders, and hands back what changes there."""

import math
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import time
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt
import torch

from kilnet import hardware
from kilnet.folders import inside
from kilnet.storage import make_folder, open_file, read_bytes, write_bytes
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.allocation import Allocation, allocate
from kilnet.tuning.backends.jobs import SpeedJob, TrainingJob, job_from_line
from kilnet.tuning.backends.processes import LocalWorkers
from kilnet.tuning.search_folder import correct_path, early_path

Files = list[tuple[str, bytes]]  # names within a run folder, and contents
_LOG_BYTES = 1 << 16  # of the end of a worker's log
_SECONDS_UNTIL_LITTER = 60.0  # a folder is locked sooner than that


@dataclass(frozen=True, kw_only=True)
class Report:
    """What happened to a job on a machine.

    Attributes:
        job: its name.
        event: a `WorkerEvent` as a dictionary, without the job.
        files: of the run that have changed.
        logs: of workers, where the job did not succeed: names and how they end.
    """

    job: str
    event: dict[str, Any]
    files: Files
    logs: Files


@dataclass(eq=False)
class _Task:
    job: TrainingJob
    folder: Path  # of the run, for whoever gave the job
    seen: dict[str, tuple[int, ...]] = field(default_factory=dict)  # which state of each file they have


class Scratch:
    """A folder of this process among temporary files; whoever makes the next one deletes it if the process was killed.

    Args:
        purpose: part of its name, which is short: sockets in it have paths of at most 107 bytes.
    """

    def __init__(self, purpose: str) -> None:
        prefix = f"kilnet-{purpose}-{os.getuid() if hasattr(os, 'getuid') else ''}-"
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            with suppress(OSError):  # one that is held, another user's, or gone meanwhile
                if not folder.is_symlink() and time() - folder.stat().st_mtime > _SECONDS_UNTIL_LITTER:
                    with filelock.FileLock(folder / ".lock", blocking=False):
                        shutil.rmtree(folder, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = filelock.FileLock(self.path / ".lock", blocking=False)
        self._lock.acquire()

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


class Machine:
    """Trains runs of which others keep the files; an actor of Ray, which calls one method after another.

    Args:
        num_cpus: that the cluster gives; more than there are do not help.
    """

    def __init__(self, num_cpus: int) -> None:
        torch.set_num_threads(max(1, min(num_cpus, os.cpu_count() or 1)))
        hardware.available_threads()  # remembers it
        self._scratch = Scratch("machine")
        self._logs = self._scratch.path / "logs"
        self._tasks: dict[str, _Task] = {}
        self._num_tasks = 0
        self._workers: LocalWorkers | None = None

    def allocate(self, workers: int | None, line: str, gpus_per_trial: float | None = None) -> Allocation:
        """Start the workers of this machine, as many as measured or asked for; see `kilnet.tuning.allocation`.

        Where trials train on GPUs, or GPUs are asked for, each worker sees one of those that Ray gives, in turn.
        """
        job = job_from_line(line)
        if not isinstance(job, SpeedJob):
            raise TypeError(f"{job.name} measures nothing")
        device = hardware.resolve_device(job.config.hardware.device)  # it may be none of this machine
        uses_gpus = device.startswith("cuda") or gpus_per_trial is not None
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        gpus = [name for name in named if name] if uses_gpus else []
        if gpus:
            share = gpus_per_trial or 1.0
            number = num_sharing(len(gpus), share, workers)
            threads = job.config.hardware.threads or max(1, hardware.available_threads() // number)
            allocation = Allocation(number, threads, f"{share:g} of {len(gpus)} GPUs for each")
        else:
            allocation = allocate(workers, job, self._logs)
        self._workers = LocalWorkers(allocation.num_workers, allocation.num_threads, self._logs, gpus)
        return allocation

    def share(self, name: str, files: list[str], *contents: npt.NDArray[np.uint8]) -> None:
        """Write images once, into files that all workers map; `contents` are those of the files."""
        folder = inside(self._scratch.path, f"images/{name}")
        make_folder(folder, parents=True)
        for file, content in zip(files, contents, strict=True):
            write_bytes(inside(folder, file), [content.data])

    def start(self, line: str, images: str, files: Files) -> None:
        """Begin a job on an idle worker.

        Args:
            line: the job, with the folders of whoever gives it.
            images: the name of what was shared, or a folder of this machine that has it.
            files: of the run so far.
        """
        job = job_from_line(line)
        if not isinstance(job, TrainingJob) or self._workers is None:
            raise TypeError(f"{job.name} cannot be trained")
        self._num_tasks += 1
        folder = inside(self._scratch.path, f"runs/{self._num_tasks}")
        is_here = Path(images).is_absolute()
        shared = Path(images) if is_here else inside(self._scratch.path, f"images/{images}")
        own = replace(job, folder=folder, images=shared)
        task = self._tasks[job.name] = _Task(own, job.folder)
        write_run(folder, files)
        task.seen = {name: _signature(folder / name) for name, _ in files}
        self._workers.start(own)

    def next_reports(self, timeout_seconds: float) -> list[Report]:
        """Wait for the next event, at most so long, and return it with those that are there too."""
        reports: list[Report] = []
        if self._workers is not None:
            event = self._workers.next_event(timeout_seconds)
            while event is not None:
                task = self._tasks[event.job.name]
                told = {key: value for key, value in vars(event).items() if key != "job"}
                told["record"] = asdict(event.record) if event.record else None
                told["reason"] = event.reason.replace(str(task.job.folder), str(task.folder))
                is_well = event.kind in ("step", "epoch", "done")
                reports.append(
                    Report(
                        job=event.job.name,
                        event=told,
                        files=self._changed(task),
                        logs=[] if is_well else self._ends_of_logs(),
                    )
                )
                if event.is_end:
                    self._forget(task)
                event = self._workers.next_event(0.0)
        return reports

    def close(self) -> list[tuple[str, Files]]:
        """Stop; return, by name of the job, what runs that were being trained have saved."""
        if self._workers is not None:
            self._workers.close()
        saved = [(name, self._changed(task)) for name, task in self._tasks.items()]
        self._scratch.remove()
        return saved

    def _changed(self, task: _Task) -> Files:
        """Return what was written since the last time.

        Read backwards, the files are in an order in which a session may leave them, though it goes on meanwhile: the
        weights are never older than the state.
        """
        files: Files = []
        for path in reversed(_run_files(task.job.folder)):
            name = path.relative_to(task.job.folder).as_posix()
            with suppress(FileNotFoundError):
                signature = _signature(
                    path
                )  # before it is read: what is written then comes with the next ones
                if task.seen.get(name) != signature:
                    files.append((name, read_bytes(path)))
                    task.seen[name] = signature
        return files[::-1]

    def _ends_of_logs(self) -> Files:
        logs: Files = []
        for path in sorted(self._logs.glob("worker-*.log")):
            with suppress(OSError), open_file(path) as file:
                file.seek(max(0, path.stat().st_size - _LOG_BYTES))
                logs.append((path.name, file.read()))
        return logs

    def _forget(self, task: _Task) -> None:
        del self._tasks[task.job.name]
        shutil.rmtree(task.job.folder, ignore_errors=True)


def num_sharing(num_gpus: float, gpus_per_trial: float, workers: int | None) -> int:
    """Return how many trials train at the same time on a machine, each on one GPU with others that fit there."""
    most = int(num_gpus) * int(1 / gpus_per_trial + 1e-9)
    return min(workers or most, most)


def gpus_to_ask(num_gpus: float, gpus_per_trial: float | None, workers: int | None) -> float:
    """Return how many of a machine's GPUs the trials take: all, or with a share for each trial as many as they need.

    Ray gives parts of one GPU, or whole ones.
    """
    if gpus_per_trial is None:
        return num_gpus
    number = num_sharing(num_gpus, gpus_per_trial, workers)
    if number * gpus_per_trial <= 1:
        return number * gpus_per_trial
    return math.ceil(number / int(1 / gpus_per_trial + 1e-9))


def read_run(folder: Path) -> Files:
    """Return the files from which a run resumes; none if it has not begun."""
    files: Files = []
    for path in _run_files(folder):
        with suppress(FileNotFoundError):
            files.append((path.relative_to(folder).as_posix(), read_bytes(path)))
    return files


def write_run(folder: Path, files: Files) -> None:
    """Write files of a run, each whole, in the order in which a session does.

    Raises:
        StorageError: the disk is full or the folder read-only.
    """
    contents = dict(files)
    for path in _run_files(folder):
        content = contents.get(path.relative_to(folder).as_posix())
        if content is not None:
            make_folder(path.parent, parents=True)
            write_bytes(path, content)


def _run_files(folder: Path) -> list[Path]:
    """Return what a session writes and resumes from, in the order in which it is written.

    Copied one after another, the files are at any moment as a killed session leaves them.
    """
    run = RunFolder(folder)
    begun = [run.environment_path, run.used_corrections_path, run.config_path]
    told = [run.history_path, run.timing_path, early_path(folder), correct_path(folder)]
    return [*begun, run.weights_path, run.state_path, *told]


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size  # times alone may be equal for some milliseconds
