"""The program of a decoding process: takes pictures from standard input until it ends, and gives pixels back.

It imports no torch, so it starts in a tenth of a second and stays small.
"""

import contextlib
import os
import signal
import struct
import sys
import time
from math import prod
from pathlib import Path
from typing import get_args

from kilnet.config import Fit
from kilnet.data.decode import MAX_EXTRA_BYTES, estimate, to_input
from kilnet.errors import DataError, TooLargeImageError

MAX_PIXELS = 50_000_000
"""Of one picture."""
MAX_BYTES = 20 * 2**20
"""Of one picture; photographs from a phone have 3 to 12 MB."""
DECODED, LARGE, TOO_LARGE, UNUSABLE = 200, 202, 413, 415
"""What an answer is: pixels; nothing, since the picture is for another process; the reason of a refusal."""
QUESTION = struct.Struct("<HIIBB2xI")
"""Channels, height and width of the network, which of `FITS`, whether large pictures are taken, the file's length."""
FITS: tuple[Fit, ...] = get_args(Fit)
ANSWER = struct.Struct("<HI")
"""What it is, and its length."""
READY = b"\1"
_LARGE_PIXELS, _LARGE_SECONDS, _LARGE_BYTES = 4_000_000, 0.5, 100_000_000
_SMALL_SECONDS, _MOST_SECONDS = 2, 6  # whole seconds, rounded up, of processor time


def main() -> None:
    """Answer questions until standard input ends."""
    _limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    answers.write(READY)
    answers.flush()
    while len(head := sys.stdin.buffer.read(QUESTION.size)) == QUESTION.size:
        channels, height, width, way, takes_large, length = QUESTION.unpack(head)
        content = sys.stdin.buffer.read(length)
        if len(content) < length:
            break
        _limit_time(_MOST_SECONDS if takes_large else _SMALL_SECONDS)
        kind, answer = _answer(content, (channels, height, width), bool(takes_large), FITS[way])
        with contextlib.suppress(BrokenPipeError):
            answers.write(ANSWER.pack(kind, len(answer)) + answer)
            answers.flush()


def _answer(
    content: bytes, image_shape: tuple[int, int, int], takes_large: bool, fitting: Fit = "pad"
) -> tuple[int, bytes]:
    try:
        cost = estimate(content)
        num_pixels = prod((cost.width, cost.height))
        if num_pixels > MAX_PIXELS:
            return TOO_LARGE, f"more than {MAX_PIXELS / 1e6:.0f} million pixels".encode()
        is_large = (
            num_pixels > _LARGE_PIXELS or cost.seconds > _LARGE_SECONDS or cost.num_bytes > _LARGE_BYTES
        )
        if is_large and not takes_large:
            return LARGE, b""
        return DECODED, to_input(content, image_shape, fitting=fitting).tobytes()
    except TooLargeImageError as error:
        return TOO_LARGE, str(error).encode()
    except MemoryError:
        return TOO_LARGE, b"decoding it needs too much memory; scale it down"
    except DataError as error:
        return UNUSABLE, str(error).encode()


def _limit_time(seconds: int) -> None:
    """Have this process ended once it has worked for so many seconds from now, where the system can."""
    with contextlib.suppress(ImportError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        end = int(time.process_time()) + seconds
        resource.setrlimit(
            resource.RLIMIT_CPU, (end if hard == resource.RLIM_INFINITY else min(end, hard), hard)
        )


def _limit_memory() -> None:
    """Refuse this process more memory than its largest picture may need, where the system can."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends this process
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + MAX_EXTRA_BYTES + 3 * MAX_PIXELS + 2 * MAX_BYTES
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
