"""The section about pictures unlike all that a run was trained on."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.data.dataset import Split
from kilnet.inference.unknown import KNOWN_KEPT, KnownPictures
from kilnet.page.document import Section, picture_section
from kilnet.runs.wording import one_line

_NUM_SHOWN, _COLUMNS = 12, 6
_TILE_PX, _GAP_PX = 96, 4


def unknown(
    images: Split, evidence: npt.NDArray[np.float32], known: KnownPictures, classes: tuple[str, ...]
) -> Section:
    """Return the limit, the share of validation images beyond it, and the strangest of them.

    Args:
        images: of validation; labels are indices into `classes`.
        evidence: (num_images, num_classes + 1), of them, see `Classifier.evidence`.
        known: what the run keeps.
        classes: their names.
    """
    strange = known.strangeness(evidence)
    num_beyond = int((strange > known.limit).sum())
    chosen = np.argsort(-strange, kind="stable")[:_NUM_SHOWN]
    names = ", ".join(one_line(classes[label]) for label in images.labels[chosen])
    hint = (
        "A picture is strange if the network's answer is less clear than for validation images that got the same "
        "class, and if weak features lead to it, both in standard deviations. It is called unknown above a strangeness "
        f"of {known.limit:.1f}, which was chosen so that {KNOWN_KEPT:.0%} of the validation images are kept: "
        f"{num_beyond:,} of {len(images):,} ({num_beyond / len(images):.1%}) would be called unknown. Evaluating the "
        "run with a folder of other things measures how well they are told apart. Of validation these are the most "
        f"unlike the rest, the strangest first, by their labels: {names}."
    )
    sheet = _sheet([images.images[index] for index in chosen])
    alt = f"The {len(chosen)} strangest validation images, {min(_COLUMNS, len(chosen))} per row: {names}"
    return picture_section("unknown", "Pictures of none of the classes", sheet, hint, alt)


def _sheet(pictures: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return pictures, each uint8 (channels, height, width), side by side with transparent gaps."""
    columns, step = min(_COLUMNS, len(pictures)), _TILE_PX + _GAP_PX
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * step - _GAP_PX, columns * step - _GAP_PX, 4), np.uint8)
    for number, picture in enumerate(pictures):
        pixels = np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)
        is_small = max(pixels.shape[:2]) < _TILE_PX
        resampling = Image.Resampling.NEAREST if is_small else Image.Resampling.BOX
        top, left = number // columns * step, number % columns * step
        tile = sheet[top : top + _TILE_PX, left : left + _TILE_PX]
        whole = Image.fromarray(np.ascontiguousarray(pixels))
        tile[..., :3] = np.asarray(whole.resize((_TILE_PX, _TILE_PX), resampling))
        tile[..., 3] = 255
    return sheet
