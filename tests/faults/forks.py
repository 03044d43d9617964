"""A parent that has torch and Kilnet loaded and forks what is to be broken, so that a try costs a fraction of a second.

`Parent` is used by the tests; `python forks.py` is the process that forks. It has one thread while it does so.
"""

import ctypes
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilnet.__main__ import _end_at_once
from operations import Operations, Strike

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ORPHAN_SECONDS = 3.0  # what the workers of a killed search get to notice


@dataclass(frozen=True)
class Ending:
    """How a forked command ended.

    Attributes:
        code: exit code, or minus the signal.
        out, err: what it wrote.
        seconds: how long it took; after a signal of ours, since that.
        hung: it was ended because its time was up.
        num_orphans: processes of it that were there still, 3 s after its end.
    """

    code: int
    out: str
    err: str
    seconds: float
    hung: bool
    num_orphans: int

    @property
    def was_killed(self) -> bool:
        """Whether the kill came before the end."""
        return self.code == -signal.SIGKILL and not self.hung

    @property
    def has_traceback(self) -> bool:
        """Whether it showed its insides."""
        return "Traceback" in self.err or "Traceback" in self.out

    @property
    def last_line(self) -> str:
        """The last of standard error."""
        return (self.err.strip().splitlines() or [""])[-1]

    @property
    def told(self) -> str:
        """What happened, for a report: of a traceback the last line, and the last place in Kilnet."""
        places = re.findall(r"/kilnet/([\w/]+\.py)\", line (\d+)", self.err)
        place = f" at {places[-1][0]}:{places[-1][1]}" if places and self.has_traceback else ""
        return f"exit {self.code}{', hung' if self.hung else ''}{place}: {self.last_line[-400:] or self.out[-200:]}"


class Parent:
    """The process that forks, and its scratch folder with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        here = Path(__file__).parent
        paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
        environment = (
            os.environ | ONE_THREAD | {"KILNET_CACHE": str(folder / "cache"), "CUDA_VISIBLE_DEVICES": ""}
        )
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )

    def warm(self, *words: Any, cwd: Path | str = "/") -> None:
        """Do a command in the parent itself, so that its children have loaded what it needs."""
        ending = self._ask(words=[*map(str, words)], warm=True, cwd=cwd)
        assert ending.code == 0, ending.told

    def load(self, function: str) -> None:
        """Call `module:function` in the parent itself; what that keeps, its children have."""
        assert self._ask(function=function, arguments=(), warm=True).code == 0

    def kilnet(self, *words: Any, **options: Any) -> Ending:
        """Fork a command of Kilnet.

        Args:
            words: of the command.
            options: folder: where operations are counted; strike; log: see `Operations`. signal, signal_after, victim:
                what is sent after so many seconds, and whether to "main", "first", "last" (of its workers) or "all".
                timeout: seconds until it counts as hung. cwd; environment; import_from: more folders of modules;
                memory_mb: of address space, beyond what it has.
        """
        return self._asked(options, words=[*map(str, words)])

    def call(self, function: str, *arguments: Any, **options: Any) -> Ending:
        """Fork a call of `module:function`; its arguments arrive as JSON, what it prints is `out`."""
        return self._asked(options, function=function, arguments=arguments)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=20)

    def _asked(self, options: dict[str, Any], **request: Any) -> Ending:
        if "strike" in options:
            options["strike"] = vars(options["strike"])
        return self._ask(**request, **options)

    def _ask(self, **request: Any) -> Ending:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        return Ending(**json.loads(self._process.stdout.readline()))


def serve() -> None:
    """Answer requests, one JSON object a line, until they end."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become ours
    _load()
    for line in requests:
        request = json.loads(line)
        answer = _warm(request) if request.pop("warm", False) else _forked(request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _load() -> None:
    import matplotlib.figure
    import torch

    import kilnet.cli
    import kilnet.tuning.backends.worker  # noqa: F401
    from kilnet.data import sources

    torch.set_num_threads(1)
    sources.load_digits = _kept(sources.load_digits)
    # Figures are composed and not rendered, which takes longer than everything else here: their PNGs are empty.
    matplotlib.figure.Figure.savefig = lambda figure, file, **options: None


def _kept(load: Any) -> Any:
    """Return a loader that keeps what it has loaded: half of what a small training takes is the digits."""
    loaded: dict[str, Any] = {}

    def kept(config: Any) -> Any:
        key = config.model_dump_json()
        if key not in loaded:
            loaded[key] = load(config)
        return loaded[key]

    return kept


def _forked(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun, beginning = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(begun)
            _be_child(request, beginning, out.fileno(), err.fileno())
        os.close(beginning)
        code, seconds, hung = _watch(child, begun, request)
        num_orphans = _end_orphans()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Ending(code, *texts, seconds, hung, num_orphans).__dict__


def _watch(child: int, begun: int, request: dict[str, Any]) -> tuple[int, float, bool]:
    os.read(begun, 1)
    os.close(begun)
    start = time.monotonic()
    due = request.get("signal_after")
    end = start + request.get("timeout", 60)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        now = time.monotonic()
        if done:
            return os.waitstatus_to_exitcode(status), now - start, False
        if due is not None and now - start >= due:
            _send(child, request.get("victim", "main"), request.get("signal", signal.SIGKILL))
            start, due = now, None
        if now > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -signal.SIGKILL, now - start, True
        time.sleep(0.001)


def _send(child: int, victim: str, number: int) -> None:
    workers = _children(child)
    victims = {"main": [child], "first": workers[:1], "last": workers[-1:], "all": [child, *workers]}[victim]
    for process in victims:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _end_orphans() -> int:
    """Wait for what a command has left behind; returns how many had to be ended."""
    end = time.monotonic() + ORPHAN_SECONDS
    while (left := _children(os.getpid())) and time.monotonic() < end:
        _reap()
        time.sleep(0.002)
    for process in left:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return len(left)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _be_child(request: dict[str, Any], beginning: int, out: int, err: int) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):  # as `kilnet.__main__.main` does
        signal.signal(number, _end_at_once)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    _open_streams()
    os.chdir(request.get("cwd", "/"))
    os.environ.update(request.get("environment", {}))
    sys.path[:0] = request.get("import_from", [])
    _limit_memory(request.get("memory_mb"))
    _exit(lambda: _run(request, beginning))


def _open_streams() -> None:
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(file, mode, closefd=False) for file, mode in enumerate("rww")
    )


def _run(request: dict[str, Any], beginning: int) -> Any:
    strike, folder, log = Strike(**request.get("strike", {})), request.get("folder"), request.get("log")
    _fork_workers(folder, strike)
    if folder:
        Operations(Path(folder), strike if strike.process == "main" else Strike(), log).wrap()
    os.close(beginning)
    return _call(request) if "function" in request else _command(request["words"])


def _call(request: dict[str, Any]) -> Any:
    module, _, name = request["function"].partition(":")
    return getattr(importlib.import_module(module), name)(*request["arguments"])


def _command(words: list[str]) -> None:
    import kilnet.cli

    sys.argv = ["kilnet", *words]
    kilnet.cli.main()


def _exit(act: Any) -> None:
    """End this process as Python would, but at once."""
    code: Any = 0
    try:
        act()
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)  # noqa: T201
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _fork_workers(folder: str | None, strike: Strike) -> None:
    """Let a search fork its workers, which would load torch for seconds; they are what they would be otherwise."""
    num_started = 0

    class Started(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, words: Any, **options: Any) -> None:
            nonlocal num_started
            if words[-1] == "kilnet.tuning.backends.worker":
                num_started += 1
                is_struck = strike.process == f"worker {num_started}"
                options["preexec_fn"] = lambda: _work(
                    options["env"], folder, strike if is_struck else Strike()
                )
            super().__init__(words, **options)

    subprocess.Popen = Started  # type: ignore[misc]


def _work(environment: dict[str, str], folder: str | None, strike: Strike) -> None:
    from kilnet.tuning.backends import worker

    os.closerange(3, 256)  # the search waits for this, as for the start of a program
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _open_streams()
    os.environ.update(environment)
    Operations.stop()
    if folder:
        Operations(Path(folder), strike).wrap()
    _exit(worker.main)


def _limit_memory(megabytes: int | None) -> None:
    if megabytes is None:
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _warm(request: dict[str, Any]) -> dict[str, Any]:
    printed, start, code = io.StringIO(), time.monotonic(), 0
    before = sys.stdout, sys.stderr
    os.chdir(request.get("cwd", "/"))
    sys.stdout = sys.stderr = printed
    try:
        if "function" in request:
            _call(request)
        else:
            _command(request["words"])
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout, sys.stderr = before
    return Ending(code, "", printed.getvalue(), time.monotonic() - start, False, 0).__dict__


if __name__ == "__main__":
    serve()
