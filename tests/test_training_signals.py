"""Signals that come while steps are taken; what a session makes of them is in test_training_session.py."""

import signal
import threading

import pytest

from kilnet.training.signals import noted_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted_and_the_second_has_its_usual_effect(number):
    came = []

    def usual(number, _):
        came.append(number)

    before = signal.signal(number, usual)
    try:
        with noted_signals() as noted:
            signal.raise_signal(number)
            assert (noted, came) == ([number], [])
            signal.raise_signal(number)
            assert (noted, came) == ([number], [number])
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_in_another_thread_nothing_changes():
    handlers = []

    def look():
        with noted_signals():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
