"""`kilnet` and `python -m kilnet`: what has to be settled before anything large is imported."""

import atexit
import os
import signal
import sys
import warnings
from contextlib import suppress

_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    for number, python_own in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) == python_own:  # else it is ignored, as Ctrl-C is under nohup
            signal.signal(number, _end_at_once)
    _open_closed_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # other libraries' words to programmers
    from kilnet.cli import main as run

    try:
        run()
    except SystemExit as end:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) == _end_at_once:  # why the program ends has been said
                signal.signal(number, lambda *_, code=end.code: os._exit(code))
        if end.code == _INTERRUPTED:
            _leave()
        raise


def _leave() -> None:
    """End after an interruption without taking torch to pieces and without waiting for threads, which takes seconds."""
    atexit._run_exitfuncs()  # temporary folders are removed
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_INTERRUPTED)


def _end_at_once(*_: object) -> None:
    """End where nothing can be lost; a KeyboardInterrupt within an import would come out as some other error."""
    shown = b"\r\x1b[K\x1b[?25h" if os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb" else b""
    try:
        os.write(
            2, shown + b"kilnet: interrupted\n"
        )  # where a bar was drawn, and with the cursor that it hid
    finally:
        os._exit(_INTERRUPTED)


def _open_closed_streams() -> None:
    """Open what the caller has closed, so that no file of ours becomes standard output (as GNU's stdopen does).

    What is written on standard output then still fails; standard input is empty, and standard error is not missed.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
