"""Images that do not fit into memory: files in the cache that are mapped, so that the system reads what is needed."""

import mmap
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.errors import StorageError
from kilnet.storage import cache_folder, make_folder

# Splits, the cache's copy and a network have to fit beside each other.
_PART_OF_MEMORY = 0.25
_UNKNOWN_MEMORY = 16 << 30
_BLOCK_BYTES = 64 << 20
_CONTROL_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def empty_images(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return an array for images: in memory, or, above a quarter of what this process may use, in a file.

    The file has no name, so that it is gone with the process, however that ends.

    Args:
        shape: (num_images, channels, height, width).

    Raises:
        StorageError: the file cannot be made, or there is no room for it.
    """
    num_bytes = int(np.prod(shape, dtype=np.int64))
    if num_bytes <= most_in_memory():
        return np.empty(shape, np.uint8)
    folder = cache_folder() / "mapped"
    make_folder(folder, parents=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(num_bytes)
            if hasattr(os, "posix_fallocate"):  # else a full disk would be found while it is written
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise StorageError(
            f"{folder}: no room for {num_bytes / 1e9:.1f} GB of images, which do not fit into memory: "
            f"{error.strerror or error}; make room, or set KILNET_CACHE to a folder on another disk"
        ) from None


def gathered(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return the images at `rows`, in that order: in memory, or in a file as `empty_images` has it."""
    result = empty_images((len(rows), *images.shape[1:]))
    if _file_of(images) is None and not isinstance(result, np.memmap):
        return images.take(rows, axis=0)  # a third of the time of a copy by blocks
    block = images_in_a_block(images)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        read_ahead(images, part)
        result[start : start + block] = images[part]
    return result


def read_ahead(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> None:
    """Ask the system for the images at `rows`, if they are in a mapped file: for all at once, and for no others.

    Whoever touches a page that is not in memory waits until the system has read it and what follows, as much as the
    disk is set to: 8 MB on some, fifty times an image of 224 pixels. In memory already, they cost some 5 µs each.
    """
    file = _file_of(images)
    if file is None or not hasattr(mmap, "MADV_WILLNEED"):  # Windows has none
        return
    first = _address(images) - _address(np.frombuffer(file, np.uint8))
    size = images[0].nbytes
    for row in rows.tolist():
        start = first + row * size
        before = start % mmap.PAGESIZE
        file.madvise(mmap.MADV_WILLNEED, start - before, before + size)


def _file_of(images: npt.NDArray[np.uint8]) -> mmap.mmap | None:
    """Return the mapped file that these images lie in, one after another; None for memory."""
    owner: object = images
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) and images.flags.c_contiguous else None


def _address(array: npt.NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def concatenated(parts: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return images of one shape, one part after another: in memory, or in a file as `empty_images` has it."""
    result, end = empty_images((sum(map(len, parts)), *parts[0].shape[1:])), 0
    for part in parts:
        result[end : end + len(part)] = part
        end += len(part)
    return result


def images_in_a_block(images: npt.NDArray[np.uint8]) -> int:
    """Return how many images to look at together, so that they take little memory."""
    return max(1, _BLOCK_BYTES // max(1, images[0].nbytes)) if len(images) else 1


def most_in_memory() -> int:
    """Return how many bytes of images are kept in memory: a quarter of the machine's, or of the control group's limit.

    A limit on addresses (`ulimit -v`) counts mapped files too, and is not looked at.
    """
    return int(_PART_OF_MEMORY * memory_bytes())


def memory_bytes() -> int:
    """Return the memory of the machine, or the limit of this process's control group where that is lower."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        whole = _UNKNOWN_MEMORY
    return min([whole, *_limits_of_groups()])


def _limits_of_groups() -> list[int]:
    """Return the limits of the control groups that this process is in, of both of Linux's versions, in bytes."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:  # another system
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (
            (_CONTROL_GROUPS / "memory", "memory.limit_in_bytes")
            if controllers
            else (_CONTROL_GROUPS, "memory.max")
        )
        folder = top / group.strip("/")
        while folder.is_relative_to(top):
            with suppress(OSError, ValueError):  # "max" is none
                found.append(int((folder / name).read_text(encoding="utf-8")))
            folder = folder.parent
    return found
