"""Which pictures belong together, so that a split must not part them."""

import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.data.archive import Member, found_at
from kilnet.data.decode import FORMATS, MAX_FILE_BYTES
from kilnet.errors import DataError, UnusableImageError

EXIF = "exif"
SECONDS_BETWEEN = 60.0
"""Pictures of one camera that follow each other within this time are one group: a judgement, not a theorem."""
_MAKE, _MODEL, _EXIF_TABLE, _TIME, _SERIAL = 0x010F, 0x0110, 0x8769, 0x9003, 0xA431


def is_pattern(group: str) -> bool:
    """Whether `data.group` is a pattern on paths."""
    return "(?P<group>" in group


def names_by_pattern(group: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Return what a pattern finds in each path; a picture in whose path it finds nothing is a group of its own.

    Raises:
        DataError: it is no pattern, or finds nothing in any path.
    """
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise DataError(f"`data.group={group!r}`: not a pattern that Python's re reads: {error}") from None
    found = [match["group"] if (match := pattern.search(path)) else None for path in paths]
    if paths and not any(found):
        raise DataError(f"`data.group={group!r}`: finds nothing in the paths, first {paths[0]}")
    return _named(found)


def names_by_exif(folder: Path | Member, paths: Sequence[str]) -> tuple[str, ...]:
    """Return a group for each picture by its camera and time; a picture without them is a group of its own.

    Raises:
        DataError: no picture has both.
    """
    taken = [_camera_and_time(folder, path) for path in paths]
    known = sorted((shot, index) for index, shot in enumerate(taken) if shot is not None)
    if paths and not known:
        raise DataError(
            f"{folder}: `data.group='{EXIF}'`: no picture says in its EXIF which camera took it when; "
            "`data.group='(?P<group>...)'` takes a pattern on paths"
        )
    names: list[str | None] = [None] * len(paths)
    number, last = 0, None
    for (camera, seconds), index in known:
        if last is None or last[0] != camera or seconds - last[1] > SECONDS_BETWEEN:
            number += 1
        names[index] = f"{camera} {number}"
        last = camera, seconds
    return _named(names)


def joined_groups(
    num_pictures: int, keys: Iterable[Sequence[object]], pairs: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return int64 (num_pictures,): the same number where pictures have a key in common or are a pair, in any steps.

    Args:
        keys: of each kind one per picture, such as names of groups.
        pairs: int64 (num_pairs, 2), indices of pictures.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = [pairs]
    for kind in keys:
        first: dict[object, int] = {}
        links.append(
            np.array([(first.setdefault(key, index), index) for index, key in enumerate(kind)], np.int64)
        )
    left, right = np.concatenate([link.reshape(-1, 2) for link in links]).T
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(num_pictures, num_pictures))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _named(found: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(name or f"picture {index} alone" for index, name in enumerate(found))


def _camera_and_time(folder: Path | Member, path: str) -> tuple[str, float] | None:
    with suppress(
        OSError, KeyError, ValueError, SyntaxError, UnusableImageError, Image.DecompressionBombError
    ):
        found = found_at(folder / path, MAX_FILE_BYTES)
        with Image.open(io.BytesIO(found) if isinstance(found, bytes) else found, formats=FORMATS) as image:
            # Nothing is decoded.
            exif = image.getexif()
            more = exif.get_ifd(_EXIF_TABLE)
        taken = datetime.strptime(str(more[_TIME]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        camera = " ".join(
            str(part).strip("\0 ") for part in (exif.get(_MAKE), exif.get(_MODEL), more.get(_SERIAL)) if part
        )
        if camera:
            return camera, (taken - datetime(1970, 1, 1)).total_seconds()
    return None
