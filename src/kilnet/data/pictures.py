"""Many image files -> uint8 squares in memory, kept in the cache for the next start."""

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import __version__ as pillow_version
from safetensors import safe_open

from kilnet.config import Fit
from kilnet.data.archive import Member, found_at
from kilnet.data.class_folders import Problem
from kilnet.data.dataset import Progress, silent
from kilnet.data.decode import MAX_FILE_BYTES, VERSION, decode, estimate
from kilnet.data.decoded import Decoded, DecodedPictures
from kilnet.data.mapped_images import empty_images, gathered, most_in_memory
from kilnet.data.near_duplicates import SIDE, thumbnail
from kilnet.data.squares import default_side, to_square
from kilnet.data.tensor_files import mapped_tensor, read_head, sealed_tensors, unsealed_tensors
from kilnet.errors import RunFolderError, StorageError, UnusableImageError
from kilnet.storage import (
    Part,
    cache_folder,
    make_folder,
    reading,
    write_bytes,
)

_PROGRESS_SECONDS = 0.1
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Pictures:
    """The usable ones of many files.

    Attributes:
        images: uint8 (num_images, 3, side, side).
        sizes: int64 (num_images, 2): width and height in pixels of the file, upright.
        hashes: uint64 (num_images,): of the pixels at full size; equal for equal pictures.
        thumbnails: uint8 (num_images, SIDE, SIDE, 3), to find near-duplicates by; see `near_duplicates`.
        indices: int64 (num_images,): which of the files each image is.
        paths: of the images, relative to the folder.
        problems: the other files.
        warnings: one line each.
    """

    images: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    thumbnails: npt.NDArray[np.uint8]
    indices: npt.NDArray[np.int64]
    paths: tuple[str, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def read_pictures(
    folder: Path | Member,
    paths: Sequence[str],
    image_size: int | None,
    progress: Progress = silent,
    fitting: Fit = "pad",
    source: Path | None = None,
    decoded: DecodedPictures | None = None,
) -> Pictures:
    """Decode files and scale them to squares, or take them from the cache while no file has changed.

    A file counts as unchanged while its path, length and times of change are the same. The cache keeps one
    entry per folder, size and way of fitting. A damaged one is made again; one that cannot be written is a warning.

    Args:
        folder: on the disk or in an archive.
        paths: relative to `folder`.
        image_size: side of the squares in pixels; None, `default_side` of the files.
        fitting: see `to_square`.
        source: the table or the archive that the paths come from, if they do.
        decoded: pictures of this folder that need not be decoded again; it takes those that are decoded now.
    """
    if decoded:
        decoded.folder = folder
    whole = folder if source is None else source
    whole = whole.resolve() if isinstance(whole, Path) else whole
    entry = hashlib.sha256(os.fsencode(whole)).hexdigest()[:32]
    way = "" if fitting == "pad" else f"-{fitting}"
    cached = cache_folder() / "folders" / f"{entry}-{image_size or 'fitted'}{way}.safetensors"
    fingerprint = _fingerprint(folder, paths)
    pictures = _load(cached, paths, fingerprint)
    if pictures is None:
        pictures = decode_all(folder, paths, image_size, progress, fitting, decoded)
        try:
            make_folder(cached.parent, parents=True)
            write_bytes(cached, _dump(pictures, fingerprint))
        except StorageError as error:
            warning = f"the pictures will be decoded again next time: {error}"
            return replace(pictures, warnings=(*pictures.warnings, warning))
    return pictures


def decode_all(
    folder: Path | Member,
    paths: Sequence[str],
    image_size: int | None,
    progress: Progress = silent,
    fitting: Fit = "pad",
    decoded: DecodedPictures | None = None,
) -> Pictures:
    """Decode files as `read_pictures` does, without the cache."""
    stopped = threading.Event()
    if image_size is None:
        longer = np.array(_by_threads(lambda index: _longer_side(folder, paths[index]), len(paths), stopped))
        image_size = default_side(longer[longer > 0])
    images = empty_images((len(paths), 3, image_size, image_size))
    sizes = np.zeros((len(paths), 2), np.int64)
    hashes = np.zeros(len(paths), np.uint64)
    thumbnails = np.empty((len(paths), SIDE, SIDE, 3), np.uint8)

    def read(index: int) -> tuple[str, ...] | UnusableImageError:
        picture = decoded.get(paths[index]) if decoded else None
        if picture is None:
            try:
                picture = Decoded(*decode(found_at(folder / paths[index], MAX_FILE_BYTES), stopped.is_set))
            except UnusableImageError as error:
                return error
            if decoded:
                decoded.keep(paths[index], picture)
        if stopped.is_set():
            return ()
        pixels = picture.pixels
        images[index] = to_square(pixels, image_size, fitting)
        sizes[index] = pixels.shape[1::-1]
        thumbnails[index] = thumbnail(pixels)
        digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
        digest.update(np.ascontiguousarray(pixels).data)
        hashes[index] = int.from_bytes(digest.digest())
        return picture.warnings

    problems, warnings, usable = [], [], []
    for index, found in enumerate(_by_threads(read, len(paths), stopped, progress)):
        if isinstance(found, UnusableImageError):
            problems.append(Problem(paths[index], str(found)))
        else:
            warnings += [f"{paths[index]}: {warning}" for warning in found]
            usable.append(index)
    indices = np.array(usable, np.int64)
    if len(usable) < len(paths):
        images, sizes = gathered(images, indices), sizes[indices]
        hashes, thumbnails = hashes[indices], thumbnails[indices]
    return Pictures(
        images=images,
        sizes=sizes,
        hashes=hashes,
        thumbnails=thumbnails,
        indices=indices,
        paths=tuple(paths[i] for i in usable),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _by_threads(
    work: Callable[[int], _Result], total: int, stopped: threading.Event, progress: Progress = silent
) -> list[_Result]:
    """Return `work` of 0 to total - 1, done by as many threads as there are cores.

    Pillow decodes and scales without holding Python's lock. Each thread takes the next number when it is done with the
    one before: to hand over a file by itself would take as long as decoding a small one.

    Args:
        stopped: is set where this ends before all is done, for `work` to end soon.
        progress: told now and then how much is done; from this thread, which it may interrupt.
    """
    results: dict[int, _Result] = {}
    numbers = iter(range(total))

    def take() -> None:
        for number in numbers:
            if stopped.is_set():
                return
            results[number] = work(number)

    num_threads = os.cpu_count() or 1
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            futures = [pool.submit(take) for _ in range(min(num_threads, total))]
            unfinished: Collection[Future[None]] = futures
            while unfinished:
                finished, unfinished = wait(unfinished, _PROGRESS_SECONDS, FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                progress("decode", len(results), total)
        except BaseException:  # Ctrl-C: do not decode the rest first
            stopped.set()
            raise
    return [results[number] for number in range(total)]


def _longer_side(folder: Path | Member, path: str) -> int:
    try:
        stored = estimate(found_at(folder / path, MAX_FILE_BYTES))
        return max(stored.width, stored.height)
    except UnusableImageError:  # decoding will say what is wrong with it
        return 0


def _fingerprint(folder: Path | Member, paths: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{VERSION} {pillow_version}".encode())
    for path in paths:
        try:
            # All files of an archive are as old as it is.
            status = (folder / path if isinstance(folder, Path) else folder.archive.path).stat()
            state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"  # ctime: its permissions
        except OSError:
            state = "unreadable"
        digest.update(os.fsencode(f"\0{path}\0{state}"))
    return digest.hexdigest()


def _dump(pictures: Pictures, fingerprint: str) -> list[Part]:
    tensors = {name: (kind, np.ascontiguousarray(getattr(pictures, name))) for name, kind in _ARRAYS.items()}
    notes = {
        "fingerprint": fingerprint,
        "problems": [asdict(problem) for problem in pictures.problems],
        "warnings": pictures.warnings,
    }
    return sealed_tensors(tensors, notes)


def _load(cached: Path, paths: Sequence[str], fingerprint: str) -> Pictures | None:
    with suppress(RunFolderError, FileNotFoundError), reading(cached, "it is made again"):
        if unsealed_tensors(read_head(cached))["fingerprint"] != fingerprint:
            return None
        notes = unsealed_tensors(np.memmap(cached, np.uint8, "r").data)  # it may be large
        with safe_open(cached, framework="numpy") as file:
            shape = file.get_slice("images").get_shape()
            in_memory = [name for name in _ARRAYS if name != "images" or np.prod(shape) <= most_in_memory()]
            tensors = {name: file.get_tensor(name) for name in in_memory}
        if "images" not in tensors:
            tensors["images"] = mapped_tensor(cached, "images")
        return Pictures(
            **tensors,
            paths=tuple(paths[i] for i in tensors["indices"]),
            problems=tuple(Problem(**problem) for problem in notes["problems"]),
            warnings=tuple(notes["warnings"]),
        )
    return None


_ARRAYS = {
    "images": "U8",
    "sizes": "I64",
    "hashes": "U64",
    "thumbnails": "U8",
    "indices": "I64",
}  # with safetensors' names of their types
