"""Requests that arrive together are answered with one forward pass."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

MAX_BATCH = 32
_MAX_WAITING = 256
# Requests that arrive during a pass share the next one anyway. This wait lets a burst at an idle server share its first
# pass too; nobody notices 3 ms.
_GATHER_SECONDS = 0.003


class QueueFullError(Exception):
    """More requests are waiting than can be answered soon."""


class Batcher(Generic[Asked, Answer]):
    """Collects requests while the network is busy, and answers them in one call in a thread of its own.

    Args:
        work: answers a batch, in order; it always runs in the same thread.
        prepare: runs once in that thread, before any work.
    """

    def __init__(
        self, work: Callable[[Sequence[Asked]], Sequence[Answer]], prepare: Callable[[], None] = lambda: None
    ) -> None:
        self._work = work
        self._waiting: asyncio.Queue[tuple[Asked, asyncio.Future[Answer]]] = asyncio.Queue(_MAX_WAITING)
        self._thread = ThreadPoolExecutor(1, "network", prepare)
        self.num_batches = 0
        self.num_answered = 0

    @property
    def num_waiting(self) -> int:
        """Number of requests that no pass has taken yet."""
        return self._waiting.qsize()

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer to one request, once its batch is done.

        Raises:
            QueueFullError: too many requests are waiting already.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((asked, answer))
        except asyncio.QueueFull:
            raise QueueFullError from None
        return await answer

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                batch = [await self._waiting.get()]
                await asyncio.sleep(_GATHER_SECONDS)
                while len(batch) < MAX_BATCH and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                # Some callers have left.
                batch = [(asked, future) for asked, future in batch if not future.done()]
                if not batch:
                    continue
                questions = [asked for asked, _ in batch]
                try:
                    answers = await loop.run_in_executor(self._thread, self._work, questions)
                except Exception as error:  # their callers get it; the server keeps running
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                    continue
                self.num_batches += 1
                self.num_answered += len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)
