"""Workers that are processes on this machine."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import IO, Any, cast

from kilnet.errors import StorageError, WorkerError
from kilnet.storage import make_folder, remove
from kilnet.training.records import EpochRecord
from kilnet.tuning.backends.jobs import Job, TrainingJob, WorkerEvent, job_to_line

_SECONDS_TO_SAVE = 2.5  # what all interrupted workers get to end their steps and write their states
_MAX_FALSE_STARTS = 10  # in a row


@dataclass(eq=False)
class _Process:
    process: subprocess.Popen[str]
    log: Path
    job: Job | None = None
    is_ready: bool = False


class LocalWorkers:
    """Processes on this machine, started when they are first needed.

    Jobs and events pass as JSON, one line each. A process whose input ends, because the search was killed, ends at
    once.

    Args:
        num_workers: how many at most.
        num_threads: of each.
        logs: folder for what they write on standard error.
        gpus: as `CUDA_VISIBLE_DEVICES` names them; each worker sees one. By default all see what this process does.
    """

    def __init__(self, num_workers: int, num_threads: int, logs: Path, gpus: Sequence[str] = ()) -> None:
        self._num_workers = num_workers
        self._num_threads = num_threads
        self._logs = logs
        self._gpus = gpus
        self._processes: list[_Process] = []
        self._messages: queue.Queue[tuple[_Process, dict[str, Any] | None]] = queue.Queue()
        self._num_false_starts = 0

    @property
    def num_idle(self) -> int:
        """How many more jobs can be taken now."""
        return self._num_workers - sum(process.job is not None for process in self._processes)

    @property
    def machines(self) -> Sequence[tuple[str, int]]:
        """No other machine takes part."""
        return ()

    def start(self, job: Job) -> None:
        """Begin a job on an idle process, or on a new one."""
        worker = next((process for process in self._processes if process.job is None), None) or self._spawn()
        worker.job = job
        stream = cast("IO[str]", worker.process.stdin)
        with suppress(OSError):  # it has died, which `_listen` notices
            stream.write(job_to_line(_with_threads(job, self._num_threads)) + "\n")
            stream.flush()

    def next_event(self, timeout_seconds: float) -> WorkerEvent | None:
        """Wait for the next event, at most so long.

        Raises:
            WorkerError: no worker can be started.
        """
        try:
            worker, message = self._messages.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        if worker not in self._processes:  # closed since
            return None
        if message is None:
            return self._remove_dead(worker)
        if message["kind"] == "ready":
            worker.is_ready, self._num_false_starts = True, 0
            return None
        if worker.job is None:
            return None
        if "record" in message:
            message["record"] = EpochRecord(**message["record"])
        event = WorkerEvent(job=worker.job, **message)
        if event.is_end:
            worker.job = None
        return event

    def _remove_dead(self, worker: _Process) -> WorkerEvent | None:
        self._processes.remove(worker)
        _close_input(worker)
        if worker.job is None:
            return None
        if worker.is_ready:
            return WorkerEvent(job=worker.job, kind="crashed", reason=_cause_of_end(worker))
        # It never came to its job, which therefore is not to blame.
        self._num_false_starts += 1
        if self._num_false_starts >= _MAX_FALSE_STARTS:
            raise WorkerError(f"no worker can be started: {_cause_of_end(worker)}; its log is {worker.log}")
        self.start(worker.job)
        return None

    def close(self) -> None:
        """Stop all processes; those that train save their state first."""
        for worker in self._processes:
            worker.process.terminate()
        end = monotonic() + _SECONDS_TO_SAVE
        for worker in self._processes:
            try:
                worker.process.wait(max(0.0, end - monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _close_input(worker)
        self._processes.clear()

    def _spawn(self) -> _Process:
        make_folder(self._logs, parents=True)
        numbers = {int(process.log.stem.rpartition("-")[2]) for process in self._processes}
        number = min(set(range(1, self._num_workers + 1)) - numbers)
        log = self._logs / f"worker-{number}.log"
        environment = {
            "OMP_NUM_THREADS": str(self._num_threads),
            "OMP_WAIT_POLICY": "passive",  # spinning would take the cores from the other workers
        }
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[(number - 1) % len(self._gpus)]
        remove(log)  # a link would lead elsewhere, a pipe would block
        try:
            errors = log.open("x", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {log}: {error.strerror or error}") from None
        with errors:
            process = begin_python("kilnet.tuning.backends.worker", [], errors, environment)
        worker = _Process(process, log)
        self._processes.append(worker)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: _Process) -> None:
        with cast("IO[str]", worker.process.stdout) as lines:
            for line in lines:
                with suppress(ValueError):  # half a line of one that was killed
                    self._messages.put((worker, json.loads(line)))
        worker.process.wait()
        self._messages.put((worker, None))


def begin_python(
    module: str, words: Sequence[str], errors: IO[str], environment: dict[str, str]
) -> subprocess.Popen[str]:
    """Start a module as a process that reads and writes lines.

    Args:
        module, words: `python -m module words`; it imports what this process would, in the same order.
        errors: gets its standard error.
        environment: variables beside those of this process.
    """
    path = {"PYTHONPATH": os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)}
    return subprocess.Popen(  # noqa: S603 modules of Kilnet
        [sys.executable, "-P", "-m", module, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=os.environ | path | environment,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for the search, which then stops its workers in order
    )


def _with_threads(job: Job, num_threads: int) -> Job:
    """Return the job, trained with so many threads where its search has left that to each machine."""
    own = job.config.hardware
    if own.threads or not isinstance(job, TrainingJob):
        return job
    hardware = own.model_copy(update={"threads": num_threads})
    return replace(job, config=job.config.model_copy(update={"hardware": hardware}))


def _close_input(worker: _Process) -> None:
    with suppress(OSError):  # it ended before it had read everything
        cast("IO[str]", worker.process.stdin).close()


def _cause_of_end(worker: _Process) -> str:
    code = worker.process.returncode
    if code == -9:
        return "the worker was killed (signal 9), by the system if memory ran out"
    lines: list[str] = []
    with suppress(OSError):
        lines = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if lines and lines[-1].startswith("out of memory"):
        return lines[-1]
    last = f": {lines[-1]}" if lines else ""
    return f"the worker ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}{last}"
