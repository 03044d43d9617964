"""Workers on all machines of a Ray cluster."""

import json
import os
import queue
import re
import secrets
import socket
import subprocess
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import IO, Any, cast

from kilnet.errors import ConfigError, MissingPackageError, StorageError, WorkerError
from kilnet.recipes.reading import parse_duration, written_duration
from kilnet.runs.wording import one_line, shorten
from kilnet.training.records import EpochRecord
from kilnet.tuning.allocation import Allocation
from kilnet.tuning.backends.jobs import Job, Notice, SpeedJob, WorkerEvent, job_to_line
from kilnet.tuning.backends.processes import begin_python

_SECONDS_TO_ANSWER = 5.0  # for a host and port
_SECONDS_TO_CONNECT = 60.0  # for Ray: where something else listens, it would wait for ever
_SECONDS_TO_BEGIN = 300.0  # for a cluster of this machine alone, which may be busy
_SECONDS_TO_CLOSE = 15.0
_SECONDS_BETWEEN_TRIES = 5.0  # to join a cluster again
_SECONDS_UNTIL_TOLD = 3.0  # that there is no machine
_MAX_LOSSES = 3  # of a job in a row; what takes its machine along more often is to blame itself
_MAX_FALSE_STARTS = 5
_MAX_CHARACTERS = 100  # of what Ray says of a machine that is gone
_OWN = "local"  # Ray's word for a cluster of this machine alone
# Of a cluster that begins here: nothing is sent to Ray's makers, and logs stay small.
_QUIET = {
    "RAY_ADDRESS": "",  # it would be taken before any other
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ROTATION_MAX_BYTES": str(1 << 22),
    "RAY_ROTATION_BACKUP_COUNT": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(eq=False)
class _Machine:
    name: str
    num_workers: int
    jobs: dict[str, Job] = field(default_factory=dict)


class ClusterWorkers:
    """Workers on machines that come and go; what is trained there is written here as soon as it arrives.

    Each machine trains in processes of its own, as many as are best there. A job whose machine goes is told as lost,
    so that it resumes elsewhere from what has arrived. Where there is no machine, the search waits.

    Args:
        address: "auto" for the cluster of this machine, or one that lasts as long as the search; else host and port.
        wait_seconds: how long to wait for a machine; None for ever.
        gpus_per_trial: how much of a GPU each trial has, at most 1; by default a whole one where it trains on one.

    Raises:
        MissingPackageError: the extra `ray` is not installed.
        ConfigError: nobody answers at the address.
    """

    def __init__(
        self, address: str, wait_seconds: float | None = None, gpus_per_trial: float | None = None
    ) -> None:
        if find_spec("ray") is None:
            raise MissingPackageError(
                "a cluster needs ray, which is not installed: pip install 'kilnet[ray]'"
            )
        self._asked = address
        self._address = _address_of_this_machine() if address == "auto" else address
        self._wait_seconds = wait_seconds
        self._gpus_per_trial = gpus_per_trial
        if problem := self._unreachable():
            raise ConfigError(f"`cluster={address!r}`: {problem}")
        self._orders = ""
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._machines: dict[str, _Machine] = {}
        self._messages: queue.Queue[tuple[object, dict[str, Any] | None]] = queue.Queue()
        self._told: deque[WorkerEvent | Notice] = deque()
        self._losses: Counter[str] = Counter()
        self._is_connected = self._was_complete = False
        self._connect_by = 0.0
        self._num_false_starts = 0
        self._next_try = 0.0
        self._alone_since: float | None = None
        self._alone_told = False

    def allocate(self, workers: int | None, job: SpeedJob, logs: Path) -> Allocation:
        """Join the cluster and let each machine measure; see `kilnet.tuning.allocation.allocate`.

        Raises:
            ConfigError: the cluster cannot be joined, or a machine has other versions.
        """
        orders: dict[str, Any] = {"kind": "measure", "workers": workers, "job": job_to_line(job)}
        orders |= {"logs": str(logs), "gpus_per_trial": self._gpus_per_trial}
        self._orders = json.dumps(orders)
        self._begin()
        while not self._was_complete:
            self._receive(1.0)
        found = [event.line for event in self._told if isinstance(event, Notice)]
        return Allocation(
            num_workers=sum(machine.num_workers for machine in self._machines.values()),
            num_threads=job.config.hardware.threads,
            reason="; ".join(found) or "no machine yet",
        )

    @property
    def num_idle(self) -> int:
        """How many more jobs can be taken now."""
        return sum(machine.num_workers - len(machine.jobs) for machine in self._machines.values())

    @property
    def machines(self) -> Sequence[tuple[str, int]]:
        """The machines that take part, each with how many jobs it does."""
        return [(machine.name, len(machine.jobs)) for machine in self._machines.values()]

    def start(self, job: Job) -> None:
        """Begin a job on the machine with most idle workers."""
        key = max(
            self._machines,
            key=lambda key: self._machines[key].num_workers - len(self._machines[key].jobs),
        )
        self._machines[key].jobs[job.name] = job
        self._send(json.dumps({"kind": "train", "machine": key, "job": job_to_line(job)}))

    def next_event(self, timeout_seconds: float) -> WorkerEvent | Notice | None:
        """Wait for the next event, at most so long.

        Raises:
            StorageError: what has arrived cannot be written.
            WorkerError: no machine has come for as long as was to be waited.
        """
        if not self._told:
            self._begin_again()
            self._receive(timeout_seconds)
            self._mind_absence()
        return self._told.popleft() if self._told else None

    def close(self) -> None:
        """Stop; runs that are being trained save their state first, and it arrives."""
        process, self._process = self._process, None
        self._machines.clear()
        if process is None:
            return
        with suppress(OSError):
            print('{"kind": "close"}', file=process.stdin, flush=True)
        try:
            process.wait(_SECONDS_TO_CLOSE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._put_away(process)

    def _begin(self) -> None:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        environment = dict(_QUIET)
        if self._address == _OWN:  # else Ray keeps a token at home, and clusters begun later ask for it
            environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        process = begin_python(
            "kilnet.tuning.backends.cluster_bridge", [self._address], self._log, environment
        )
        self._process, self._is_connected = process, False
        self._connect_by = monotonic() + (_SECONDS_TO_BEGIN if self._address == _OWN else _SECONDS_TO_CONNECT)
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        self._send(self._orders)

    def _begin_again(self) -> None:
        if self._process is not None or monotonic() < self._next_try:
            return
        self._next_try = monotonic() + _SECONDS_BETWEEN_TRIES
        if not self._unreachable():
            self._begin()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        with cast("IO[str]", process.stdout) as lines:
            for line in lines:
                with suppress(ValueError):  # half a line of one that was killed
                    self._messages.put((process, json.loads(line)))
        process.wait()
        self._messages.put((process, None))

    def _send(self, line: str) -> None:
        if self._process is not None:
            with suppress(OSError):  # it has died, which `_listen` notices
                print(line, file=self._process.stdin, flush=True)

    def _receive(self, timeout_seconds: float) -> None:
        """Wait for a message of the bridge and act on it."""
        try:
            process, message = self._messages.get(timeout=timeout_seconds)
        except queue.Empty:
            if self._process and not self._is_connected and monotonic() > self._connect_by:
                self._process.kill()  # something else listens there
            return
        if process is not self._process:  # closed since
            return
        if message is None:
            self._end()
            return
        match message.pop("kind"):
            case "connected":
                self._is_connected = True
            case "refused":
                if not self._was_complete:  # later it may change
                    raise ConfigError(f"`cluster={self._asked!r}`: {message['reason']}")
            case "complete":
                self._was_complete = True
            case "joined":
                self._join(**message)
            case "gone":
                self._lose(message["machine"], shorten(message["reason"], _MAX_CHARACTERS))
            case "left out":
                reason = one_line(message["reason"])
                self._lose(message["machine"], reason)
                self._told.append(Notice(f"warning: machine {message['name']} is left out: {reason}"))
            case "blocked":
                raise StorageError(message["reason"])
            case "event":
                self._pass_on(**message)

    def _join(self, machine: str, name: str, allocation: dict[str, Any]) -> None:
        self._num_false_starts = 0
        found = Allocation(**allocation)
        self._machines[machine] = _Machine(one_line(name), found.num_workers)
        self._told.append(Notice(f"machine {name} takes part: {str(found).partition(' (')[0]}"))

    def _pass_on(self, machine: str, job: str, event: dict[str, Any]) -> None:
        if event["record"]:
            event["record"] = EpochRecord(**event["record"])
            del self._losses[job]
        jobs = self._machines[machine].jobs
        told = WorkerEvent(job=jobs[job], **event)
        if told.is_end:
            del jobs[job]
        self._told.append(told)

    def _lose(self, key: str, reason: str) -> None:
        """Note that a machine is gone, with all that it was doing."""
        machine = self._machines.pop(key, None)
        if machine is None:  # it had not joined yet
            return
        self._told.append(Notice(f"machine {machine.name} is gone; its trials resume elsewhere"))
        for job in machine.jobs.values():
            self._losses[job.name] += 1
            kind = "lost" if self._losses[job.name] <= _MAX_LOSSES else "crashed"
            told = f"its machine is gone: {reason}"
            self._told.append(WorkerEvent(job=job, kind=kind, reason=told))

    def _end(self) -> None:
        """Note that the bridge has ended: the cluster is gone, or this machine has left it."""
        process = cast("subprocess.Popen[str]", self._process)
        self._process = None
        reason = self._put_away(process)
        if not self._was_complete:
            reason = reason if self._is_connected else "no Ray cluster answers there"
            raise ConfigError(f"`cluster={self._asked!r}`: {reason}")
        for key in list(self._machines):
            self._lose(key, f"the cluster is gone: {shorten(reason, _MAX_CHARACTERS)}")
        self._num_false_starts += process.returncode == 1
        if self._num_false_starts >= _MAX_FALSE_STARTS:
            raise WorkerError(f"the cluster cannot be used: {reason}")

    def _put_away(self, process: subprocess.Popen[str]) -> str:
        """Return the last line that the bridge has written."""
        with suppress(OSError):  # it ended before it had read everything
            cast("IO[str]", process.stdin).close()
        with cast("IO[str]", self._log) as log:
            log.seek(0)
            return (log.read().strip().splitlines() or ["no reason was given"])[-1]

    def _mind_absence(self) -> None:
        """Tell that there is no machine, and how long the search waits."""
        if self._machines:
            self._alone_since, self._alone_told = None, False
            return
        self._alone_since = self._alone_since or monotonic()
        seconds = monotonic() - self._alone_since
        if self._wait_seconds is not None and seconds > self._wait_seconds:
            raise WorkerError(
                f"no machine of the cluster was there for {written_duration(seconds)}; everything is saved, "
                "and the same command resumes"
            )
        if seconds > _SECONDS_UNTIL_TOLD and not self._alone_told:
            self._alone_told = True
            most = "" if self._wait_seconds is None else f" at most {written_duration(self._wait_seconds)}"
            self._told.append(Notice(f"no machine of the cluster is there; the search waits{most} for one"))

    def _unreachable(self) -> str:
        return "" if self._address == _OWN else _why_unreachable(self._address)


def workers_of(
    address: str | None, wait: str | None, gpus_per_trial: float | None = None
) -> ClusterWorkers | None:
    """Return the workers of a cluster as options name it; None without a cluster.

    Args:
        wait: how long to wait for a machine, such as "10m".
        gpus_per_trial: see `ClusterWorkers`.

    Raises:
        ConfigError: nobody answers there, or what was asked for is nothing without a cluster, or nothing to be had.
    """
    share = gpus_per_trial
    if share is not None and not 0 < share <= 1:
        raise ConfigError(
            f"`gpus_per_trial={share}`: must be above 0 and at most 1; a trial trains on one GPU"
        )
    if address is None:
        if share is not None:
            raise ConfigError(f"`gpus_per_trial={share}`: only a `cluster` is asked for GPUs")
        if wait is not None:
            raise ConfigError(f"`wait={wait!r}`: only work on a `cluster` waits for machines")
        return None
    return ClusterWorkers(address, None if wait is None else parse_duration(wait, "wait"), share)


def _address_of_this_machine() -> str:
    """Return where the cluster is that this machine is in, as Ray's own tools find it; else that one begins here."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    # Not whichever runs here, as Ray's "auto" is: that may be one that ends with another search.
    kept = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray/ray_current_cluster")  # noqa: S108
    with suppress(OSError, UnicodeError):
        address = kept.read_text(encoding="utf-8").strip()
        if not _why_unreachable(address):
            return address
    return _OWN


def _why_unreachable(address: str) -> str:
    """Return why nobody can be reached at a host and port; empty if somebody answers."""
    match = re.fullmatch(r"\[?([^/\[\]\s]+?)\]?:(\d{1,5})", address)
    if match is None:
        return "write auto, or the host and port of the head of a cluster"
    try:
        socket.create_connection((match[1], int(match[2])), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"nobody answers there ({reason}); start a cluster there, or write auto"
    return ""
