"""How fast a folder of pictures is read, beside a plain pool of Pillow decoders on all cores.

    python benchmarks/reading.py FOLDER [--files 4000] [--size 32] [--repeats 3]

Both decode the same files and scale them to the same size, in turn; the plain pool does nothing else. Kilnet also
judges what each file may cost, keeps a thumbnail and a hash of the whole picture, and notes what cannot be read.
Nothing comes from the cache. Wall and processor seconds are the least of the repeats, since other programs only add.
"""

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.data.pictures import decode_all


def plain(path: Path, side: int) -> npt.NDArray[np.uint8]:
    """Decode and scale one file."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def main() -> None:
    """Print one row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    found = sorted(path for path in given.folder.rglob("*.*") if path.is_file())[: given.files]
    names = [path.relative_to(given.folder).as_posix() for path in found]

    def by_pool() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda path: plain(path, given.size), found))

    ways = {"plain pool": by_pool, "Kilnet": lambda: decode_all(given.folder, names, given.size)}
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(given.repeats):
        for way, read in ways.items():
            start, used = time.perf_counter(), time.process_time()
            read()
            seconds[way].append((time.perf_counter() - start, time.process_time() - used))
    print(
        f"{len(found):,} files, {os.cpu_count()} cores\n\n| | wall seconds | processor seconds |\n|---|---|---|"
    )
    for way, spent in seconds.items():
        wall, processor = (min(column) for column in zip(*spent, strict=True))
        print(f"| {way} | {wall:.2f} | {processor:.2f} |")


if __name__ == "__main__":
    main()
