"""One seed becomes many: each purpose draws from its own stream."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Return the random stream of one purpose, for example ("shuffle", epoch).

    Streams of different purposes or indices are independent (numpy's SeedSequence), so that what one part draws
    never shifts what another part sees.
    """
    return np.random.Generator(np.random.SFC64(_sequence(seed, purpose, indices)))


def derive(seed: int, purpose: str, *indices: int) -> int:
    """Return a 63-bit seed for a library that takes an integer, such as `torch.manual_seed`."""
    return int(_sequence(seed, purpose, indices).generate_state(1, np.uint64)[0] >> 1)


def _sequence(seed: int, purpose: str, indices: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *indices])
