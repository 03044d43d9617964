"""Processes that decode pictures for the server, each of which can be ended."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.config import Fit
from kilnet.server import decoding
from kilnet.server.guard import RefusedError

_MAX_SECONDS = 60.0  # by the clock, in case the system does not limit processor time
_RETRY_SECONDS = 0.5
_PROGRAM = "from kilnet.server.decoding import main; main()"


class Decoders:
    """A few processes for small pictures, and one for large ones, so that large ones keep nobody waiting."""

    def __init__(self) -> None:
        self._small = _Processes(min(4, os.cpu_count() or 1), takes_large=False)
        self._large = _Processes(1, takes_large=True)

    async def start(self) -> None:
        """Start the processes.

        Raises:
            OSError: one cannot be started; none runs then.
        """
        starts = [*self._small.starts(), *self._large.starts()]
        errors = [error for error in await asyncio.gather(*starts, return_exceptions=True) if error]
        if errors:
            await self.stop()
            raise errors[0]

    async def decode(
        self, content: bytes, image_shape: tuple[int, int, int], fitting: Fit = "pad"
    ) -> npt.NDArray[np.uint8]:
        """Return a picture as the network takes it: uint8 (channels, height, width).

        Args:
            content: bytes of the file.
            image_shape: (channels, height, width) of the network.
            fitting: see `to_square`.

        Raises:
            RefusedError: 415, it is not a picture, or damaged; 413, it has too many pixels, or decoding it takes too
                long or too much memory.
        """
        kind, answer = await self._small.ask(content, image_shape, fitting)
        if kind == decoding.LARGE:
            kind, answer = await self._large.ask(content, image_shape, fitting)
        if kind != decoding.DECODED:
            raise RefusedError(kind, answer.decode())
        return np.frombuffer(answer, np.uint8).reshape(image_shape)

    async def stop(self) -> None:
        """End all processes at once."""
        await asyncio.gather(self._small.stop(), self._large.stop())


@dataclass(frozen=True, eq=False)
class _Process:
    """A process, and its two ends."""

    process: asyncio.subprocess.Process
    questions: asyncio.StreamWriter
    answers: asyncio.StreamReader

    async def ask(self, head: bytes, content: bytes) -> tuple[int, bytes]:
        """Return the answer to one question: what it is, and its bytes."""
        self.questions.write(head)
        self.questions.write(content)
        await self.questions.drain()
        kind, length = decoding.ANSWER.unpack(await self.answers.readexactly(decoding.ANSWER.size))
        return kind, await self.answers.readexactly(length)

    async def end(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.questions.close()
        await self.process.wait()


class _Processes:
    """Processes of one kind; each answers one question at a time."""

    def __init__(self, num_processes: int, takes_large: bool) -> None:
        self._num_processes, self._takes_large = num_processes, takes_large
        self._idle: asyncio.Queue[_Process] = asyncio.Queue()
        self._all: set[_Process] = set()
        self._replacements: set[asyncio.Task[None]] = set()
        self._is_stopped = False

    def starts(self) -> list[Coroutine[None, None, None]]:
        return [self._add() for _ in range(self._num_processes)]

    async def ask(self, content: bytes, image_shape: tuple[int, int, int], fitting: Fit) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(_MAX_SECONDS):
                process = await self._idle.get()
        except TimeoutError:
            raise RefusedError(503, "too many large pictures are waiting; try again") from None
        way = decoding.FITS.index(fitting)
        head = decoding.QUESTION.pack(*image_shape, way, self._takes_large, len(content))
        has_answered = False
        try:
            async with asyncio.timeout(_MAX_SECONDS):
                answer = await process.ask(head, content)
            has_answered = True
        except (TimeoutError, asyncio.IncompleteReadError, OSError):  # it was ended, or will be
            reason = b"decoding it takes too long or too much memory; scale it down, or save it again"
            return decoding.TOO_LARGE, reason
        finally:
            if has_answered:
                self._idle.put_nowait(process)
            else:
                self._all.discard(process)
                replacement = asyncio.create_task(self._replace(process))
                self._replacements.add(replacement)
                replacement.add_done_callback(self._replacements.discard)
        return answer

    async def stop(self) -> None:
        self._is_stopped = True
        await asyncio.gather(*(process.end() for process in self._all), *self._replacements)

    async def _replace(self, process: _Process) -> None:
        await process.end()
        while not self._is_stopped:
            try:
                await self._add()
                break
            except OSError:  # the system is short of something
                await asyncio.sleep(_RETRY_SECONDS)

    async def _add(self) -> None:
        paths = os.pathsep.join(path or os.curdir for path in sys.path)
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries' messages; the reason is in the answer
            start_new_session=True,  # Ctrl-C is for the server, which ends this process
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        if started.stdin is None or started.stdout is None:
            raise OSError("a process without pipes")
        process = _Process(started, started.stdin, started.stdout)
        self._all.add(process)
        if self._is_stopped:  # meanwhile
            await process.end()
        try:
            await process.answers.readexactly(len(decoding.READY))
        except asyncio.IncompleteReadError:
            self._all.discard(process)
            await process.end()
            raise OSError("the processes that decode pictures cannot be started") from None
        self._idle.put_nowait(process)
