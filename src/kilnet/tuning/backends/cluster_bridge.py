"""A process that speaks with Ray, so that a search need not: `python -m kilnet.tuning.backends.cluster_bridge ADDRESS`.

Ray ends every process that has joined a cluster when the cluster goes. Here that is an end of which the search hears.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np

from kilnet.errors import StorageError
from kilnet.folders import inside
from kilnet.storage import make_folder, write_bytes
from kilnet.tuning.backends.cluster_machine import (
    Machine,
    Report,
    Scratch,
    gpus_to_ask,
    read_run,
    write_run,
)
from kilnet.tuning.backends.cluster_versions import PACKAGES, asker, difference, why_not_joined
from kilnet.tuning.backends.jobs import TrainingJob, job_from_line
from kilnet.tuning.backends.worker import Channel

_SECONDS_BETWEEN_LOOKS = 1.0  # at which machines there are
_SECONDS_TO_JOIN = 60.0  # for the machines that are there at the beginning
_SECONDS_TO_SAVE = 5.0
_SECONDS_TO_HEAR = 0.05
# How long a machine waits for an event before it looks at what else there is to do.
_IDLE_SECONDS, _BUSY_SECONDS = 0.05, 0.5
_MAX_FALSE_STARTS = 5  # of one machine
_STORE_BYTES = 1 << 28  # of a cluster of this machine alone, through which only files of runs pass


@dataclass(eq=False)
class _Node:
    """A machine as the search sees it."""

    key: str  # Ray's
    name: str
    num_cpus: int
    num_gpus: float  # that are asked for
    actor: Any = None
    num_workers: int = 0
    jobs: dict[str, TrainingJob] = field(default_factory=dict)
    images: set[Path] = field(default_factory=set)


class Bridge:
    """Looks after the machines of a cluster, and passes jobs and reports on.

    Args:
        channel: to the search.
        address: host and port, or "local".
    """

    def __init__(self, channel: Channel, address: str) -> None:
        import ray  # of an extra: all modules can be imported without it

        self._ray: Any = ray
        self._channel = channel
        self._scratch: Scratch | None = None
        self._nodes: dict[str, _Node] = {}
        self._left_out: set[str] = set()
        self._num_starts: dict[str, int] = {}  # of each machine since it last reported
        self._images: dict[Path, dict[str, Any]] = {}  # what is in the object store
        self._expected: dict[Any, tuple[_Node, Callable[[Any], None]]] = {}  # what machines were asked
        self._orders: dict[str, Any] = {}  # how to measure, and where logs are kept
        self._looked = self._complete_by = 0.0
        self._is_complete = self._is_closing = False
        self._join(address)

    def _join(self, address: str) -> None:
        """Join the cluster, or begin one of this machine alone, which ends with this process."""
        options: dict[str, Any] = {}
        if address == "local":
            self._scratch = Scratch("ray")
            options = {"include_dashboard": False, "_temp_dir": str(self._scratch.path)}
            options["object_store_memory"] = _STORE_BYTES
        self._ray.init(address=address, logging_level="ERROR", log_to_driver=False, **options)

    def run(self, lines: "queue.Queue[str]") -> None:
        """Do what the search says until it says "close"."""
        while True:
            self._look()
            self._hear()
            with suppress(queue.Empty):
                while True:
                    message = json.loads(lines.get_nowait())
                    match message["kind"]:
                        case "measure":
                            self._orders = message
                            self._complete_by = monotonic() + _SECONDS_TO_JOIN
                        case "train":
                            self._train(message["machine"], message["job"])
                        case "close":
                            return self.close()

    def _look(self) -> None:
        """Ask new machines for their versions."""
        if not self._orders or monotonic() - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked, share = monotonic(), self._orders["gpus_per_trial"]
        for found in self._ray.nodes():
            key, resources = found["NodeID"], found["Resources"]
            num_cpus = int(resources.get("CPU", 0))
            if not found["Alive"] or not num_cpus or key in self._nodes or key in self._left_out:
                continue
            num_gpus = resources.get("GPU", 0.0)
            if share is not None and num_gpus < share:
                continue
            num_gpus = gpus_to_ask(num_gpus, share, self._orders["workers"])
            node = _Node(key, found["NodeManagerAddress"], num_cpus, num_gpus)
            self._nodes[key] = node
            ask = self._ray.remote(asker()).options(num_cpus=0, max_retries=0, scheduling_strategy=_on(node))
            self._expect(node, ask.remote(PACKAGES), partial(self._compare, node))
        if share is not None and not self._nodes and not self._is_complete:
            self._channel.send(
                "refused", reason=f"no machine has a GPU; `gpus_per_trial={share:g}` needs one"
            )
            sys.exit(2)
        are_settled = all(node.num_workers for node in self._nodes.values())
        if not self._is_complete and (are_settled or monotonic() > self._complete_by):
            self._is_complete = True
            self._channel.send("complete")

    def _compare(self, node: _Node, there: dict[str, str]) -> None:
        """Let a machine join whose versions are those of the search."""
        if differing := difference(there, asker()(PACKAGES)):
            self._leave_out(node, differing, True)
            return
        machine = self._ray.remote(Machine).options(
            num_cpus=node.num_cpus,
            num_gpus=node.num_gpus,
            max_restarts=0,
            scheduling_strategy=_on(node),
        )
        node.actor = machine.remote(node.num_cpus)
        orders = (self._orders["workers"], self._orders["job"], self._orders["gpus_per_trial"])
        asked = node.actor.allocate.remote(*orders)
        self._expect(node, asked, partial(self._admit, node))

    def _admit(self, node: _Node, allocation: Any) -> None:
        node.num_workers = allocation.num_workers
        self._channel.send("joined", machine=node.key, name=node.name, allocation=vars(allocation))
        self._ask(node)

    def _ask(self, node: _Node) -> None:
        seconds = _BUSY_SECONDS if len(node.jobs) >= node.num_workers else _IDLE_SECONDS
        self._expect(node, node.actor.next_reports.remote(seconds), partial(self._pass_on, node))

    def _pass_on(self, node: _Node, reports: list[Report]) -> None:
        for report in reports:
            self._num_starts.pop(node.key, None)
            job = node.jobs[report.job]
            self._write(job, report.files)
            self._write_logs(node, report.logs)
            if report.event["kind"] == "blocked":  # a full disk there stops nobody else
                self._leave_out(node, report.event["reason"])
                return
            if report.event["kind"] not in ("step", "epoch"):
                del node.jobs[report.job]
            self._channel.send("event", machine=node.key, job=report.job, event=report.event)
        if not self._is_closing:
            self._ask(node)

    def _write(self, job: TrainingJob, files: list[tuple[str, bytes]]) -> None:
        try:
            write_run(job.folder, files)
        except StorageError as error:
            self._channel.send("blocked", reason=str(error))

    def _write_logs(self, node: _Node, logs: list[tuple[str, bytes]]) -> None:
        folder = Path(self._orders["logs"])
        with suppress(StorageError):
            for name, content in logs:
                make_folder(folder, parents=True)
                write_bytes(inside(folder, f"{node.name}-{Path(name).name}"), content)

    def _train(self, key: str, line: str) -> None:
        node, job = self._nodes.get(key), job_from_line(line)
        # One that has gone may be asked again already, and has no workers yet; the search will hear that it went.
        if node is None or not node.num_workers or not isinstance(job, TrainingJob):
            return
        node.jobs[job.name] = job
        if self._scratch:  # this machine alone, which has the images
            images = str(job.images.absolute())
        else:
            images = job.images.name
            self._share(node, job.images)
        self._expect(node, node.actor.start.remote(line, images, read_run(job.folder)))

    def _share(self, node: _Node, images: Path) -> None:
        """Let a machine fetch images, once."""
        if images not in node.images:
            node.images.add(images)
            files = self._shared(images)
            self._expect(node, node.actor.share.remote(images.name, list(files), *files.values()))

    def _shared(self, folder: Path) -> dict[str, Any]:
        """Put images into the object store, from which each machine fetches them once."""
        if folder not in self._images:
            self._images[folder] = {
                path.name: self._ray.put(np.asarray(np.memmap(path, np.uint8, "r")))
                for path in sorted(folder.iterdir())
                if path.is_file()
            }
        return self._images[folder]

    def _expect(self, node: _Node, answer: Any, use: Callable[[Any], None] = lambda _: None) -> None:
        self._expected[answer] = (node, use)

    def _hear(self) -> None:
        """Use the answers that have come."""
        if not self._expected:
            sleep(_SECONDS_TO_HEAR)
            return
        for answer in self._ray.wait(list(self._expected), timeout=_SECONDS_TO_HEAR)[0]:
            node, use = self._expected.pop(answer, (None, None))
            if node is None or use is None:
                continue
            try:
                content = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:  # its own fault, which it would repeat
                self._leave_out(node, _first_line(error.cause))
            except self._ray.exceptions.RayError as error:
                self._lose(node, _first_line(error))
            else:
                use(content)

    def _lose(self, node: _Node, reason: str) -> None:
        """Do without a machine, until it is seen again."""
        number = self._num_starts[node.key] = self._num_starts.get(node.key, 0) + 1
        if number >= _MAX_FALSE_STARTS:
            self._leave_out(node, reason)
            return
        self._forget(node)
        if node.num_workers:
            self._channel.send("gone", machine=node.key, reason=reason)

    def _leave_out(self, node: _Node, reason: str, is_wrong: bool = False) -> None:
        """Do without a machine from now on; one that is wrong ends a search that is just beginning."""
        self._left_out.add(node.key)
        self._forget(node)
        if is_wrong and not self._is_complete:
            self._channel.send("refused", reason=f"machine {node.name} cannot take part: {reason}")
            sys.exit(2)
        self._channel.send("left out", machine=node.key, name=node.name, reason=reason)

    def _forget(self, node: _Node) -> None:
        del self._nodes[node.key]
        self._expected = {answer: (of, use) for answer, (of, use) in self._expected.items() if of is not node}
        if node.actor is not None:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(node.actor)

    def close(self) -> None:
        """Stop all machines, and write what they have saved; a cluster that was begun here ends."""
        self._is_closing, end = True, monotonic() + 2 * _BUSY_SECONDS
        while self._expected and monotonic() < end:
            self._hear()
        joined = [node for node in self._nodes.values() if node.num_workers]
        answers = {node.actor.close.remote(): node for node in joined}
        ready = (
            self._ray.wait(list(answers), num_returns=len(answers), timeout=_SECONDS_TO_SAVE)[0]
            if answers
            else []
        )
        for answer in ready:
            with suppress(self._ray.exceptions.RayError):
                for name, files in self._ray.get(answer):
                    self._write(answers[answer].jobs[name], files)
        for node in list(self._nodes.values()):
            self._forget(node)
        self._ray.shutdown()
        if self._scratch:
            self._scratch.remove()


def _on(node: _Node) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node.key, soft=False)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _listen(lines: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(1)  # the search is gone, and Ray ends what it has started


def main() -> None:
    """Join the cluster of the first argument and serve the search that has started this process."""
    channel, lines = Channel(), queue.Queue[str]()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    try:
        bridge = Bridge(channel, sys.argv[1])
    except Exception as error:  # Ray raises many kinds
        channel.send("refused", reason=why_not_joined(f"{error}\n{error.__cause__ or ''}"))
        sys.exit(2)
    channel.send("connected")
    bridge.run(lines)


if __name__ == "__main__":
    main()
