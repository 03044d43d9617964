"""The original photographs of some images, as small files inside a page."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from kilnet.data.decode import decode
from kilnet.errors import RunFolderError, UnusableImageError
from kilnet.folders import inside
from kilnet.page.album import Album, Selection

LONGER_SIDE_PX = (
    320  # large enough to see what was taken for something else, small enough for dozens in one file
)
_QUALITY = 75
MAX_CHARACTERS = 700_000  # of all photographs of a page, in base64
_MAX_PAGE = 4_300_000  # of these and all other pictures; a page has less than 5 MB


def with_photographs(album: Album, selection: Selection, folder: Path, names: Sequence[str]) -> Album:
    """Return an album with the photographs of its mistakes, then of its samples, then of others, as far as they fit.

    Args:
        album: without photographs.
        selection: the images of the album.
        folder: of the data.
        names: of all images of the split, paths below the folder.
    """
    places = dict.fromkeys([*selection.mistakes, *selection.samples, *range(len(selection.indices))])
    room = min(MAX_CHARACTERS, _MAX_PAGE - sum(map(len, album.sheets.values())))
    wanted = ((place, names[selection.indices[place]]) for place in places)
    return replace(
        album, data={**album.data, "photographs": photographs(folder, wanted, album.data["side"], room)}
    )


def photographs(
    folder: Path, names: Iterable[tuple[int, str]], seen_px: int, most: int = MAX_CHARACTERS
) -> dict[int, str]:
    """Return data URIs of photographs, in the order given, until their size reaches `most`.

    Args:
        folder: of the data.
        names: the place of each image on the page, and its path below the folder.
        seen_px: side of what the network saw; a picture that is no larger is left out.
        most: characters of all together.
    """
    found: dict[int, str] = {}
    for place, name in names:
        path = folder / name
        try:
            if ".." in Path(name).parts or not inside(folder, name).is_file():
                continue
            pixels, _ = decode(path)
        except (UnusableImageError, RunFolderError, OSError):
            continue  # what the network saw is on the page all the same
        if max(pixels.shape[:2]) <= seen_px:
            continue
        picture, content = Image.fromarray(pixels), io.BytesIO()
        picture.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
        picture.save(content, "WEBP", quality=_QUALITY, method=4)
        uri = "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
        most -= len(uri)
        if most < 0:
            break
        found[place] = uri
    return found
