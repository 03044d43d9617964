"""Ctrl-C and SIGTERM in a training: it stops after the present step, where that does not take long."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ALARM: int | None = getattr(signal, "SIGALRM", None)
"""Comes where a step takes longer than a user waits; Windows has none."""
_SECONDS_TO_STOP = 2.0


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Give a list that gets Ctrl-C and SIGTERM within this context, for the caller to stop after the present step.

    Where the step takes longer than a user waits, the list gets `ALARM`, and there is a KeyboardInterrupt. A second
    Ctrl-C has its usual effect. In threads other than the main one nothing changes.
    """
    noted: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)
        signal.signal(number, previous[number])
        if ALARM is not None and ALARM not in previous:
            previous[ALARM] = signal.signal(ALARM, give_up)
            set_alarm(_SECONDS_TO_STOP)

    def give_up(number: int, _: FrameType | None) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    try:
        yield noted
    finally:
        if ALARM in previous:
            set_alarm(0)
        for which, handler in previous.items():
            signal.signal(which, handler)


def set_alarm(seconds: float) -> None:
    """Let `ALARM` come after so many seconds; not at all where that is 0."""
    if ALARM is not None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
