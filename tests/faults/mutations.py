"""Mutated pictures, and what it costs to decode one: time, and memory beyond its pixels."""

import json
import random
import resource
import sys
import time
from pathlib import Path

from odd_pictures import odd_pictures

LARGEST = 200_000  # bytes of a picture that is mutated
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 10**9)


def corpus() -> list[bytes]:
    """Return the pictures that are mutated, always in the same order."""
    return [content for _, content in sorted(odd_pictures().items()) if len(content) <= LARGEST]


def mutated(seed: int, number: int) -> bytes:
    """Return a picture with up to four changes: of bits, bytes, numbers; parts cut out, doubled, put in."""
    chance = random.Random(f"{seed} {number}")
    pictures = corpus()
    content = bytearray(chance.choice(pictures))
    for _ in range(chance.randint(1, 4)):
        # Half of the changes are in the head, where sizes and kinds stand.
        end = len(content) if chance.random() < 0.5 else min(len(content), 64)
        at = chance.randrange(end or 1)
        length = chance.choice((1, 2, 4, 8, 64, 1024))
        match chance.randrange(7):
            case 0:
                content[at : at + 1] = bytes(byte ^ 1 << chance.randrange(8) for byte in content[at : at + 1])
            case 1:
                content[at : at + length] = chance.randbytes(length)
            case 2:
                size, order = chance.choice((1, 2, 4)), chance.choice(("big", "little"))
                number_there = chance.choice(NUMBERS) % 256**size
                content[at : at + size] = number_there.to_bytes(size, order)  # type: ignore[arg-type]
            case 3:
                del content[at : at + length]
            case 4:
                content[at:at] = content[at : at + length] * chance.choice((1, 2, 100))
            case 5:
                other = chance.choice(pictures)
                start = chance.randrange(len(other))
                content[at : at + length] = other[start : start + length]
            case 6:
                del content[at:]
    return bytes(content)


def decode_mutated(seed: int, first: int, count: int) -> None:
    """Decode some of the mutated pictures; prints a line for each, as `measured` does."""
    for number in range(first, first + count):
        measured(f"mutated {number}", mutated(seed, number))


def decode_file(path: str) -> None:
    """Decode a file; prints a line as `measured` does."""
    measured(Path(path).name, Path(path).read_bytes())


def measured(name: str, content: bytes) -> None:
    """Decode a picture; prints its name, seconds of the processor, MB beyond its pixels, and the kind of end."""
    from kilnet.data.decode import decode
    from kilnet.errors import UnusableImageError

    print(json.dumps({"begun": name}), flush=True)  # noqa: T201
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident size counts from now on
    before, start, num_bytes, end = _kilobytes("VmRSS"), _processor_seconds(), 0, "decoded"
    try:
        num_bytes = decode(content)[0].nbytes
    except UnusableImageError as error:
        end = "refused"
        if "\n" in str(error) or not str(error):
            end = f"refused with {error!r}"
    except BaseException as error:
        end = f"{type(error).__name__}: {error}"
    seconds = _processor_seconds() - start
    megabytes = (_kilobytes("VmHWM") - before) / 1024 - num_bytes / 2**20
    print(json.dumps({"name": name, "seconds": seconds, "megabytes": megabytes, "end": end}), flush=True)  # noqa: T201
    sys.stdout.flush()


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
