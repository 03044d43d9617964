"""Ctrl-C and SIGTERM as a wish that training grants when it can."""

import signal
import threading
from types import FrameType
from typing import Any


class Interruption:
    """Within this context Ctrl-C and SIGTERM are noted, for the caller to stop after the present step.

    A second Ctrl-C has its usual effect. In threads other than the main one nothing changes.

    Attributes:
        is_wanted: whether a signal came.
    """

    def __init__(self) -> None:
        self.is_wanted = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.is_wanted = True
        signal.signal(number, self._previous[number])
