"""The pictures of a page: which images of a split it shows, one sheet of them, and sheets of heat maps."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.data.squares import resized
from kilnet.runs.wording import one_line
from kilnet.seeding import generator

SIDE_PX = 64  # larger images are reduced to it
# Of all images together. Lossless and in base64, 10^6 pixels of photographs take 2.4 MB, of noise 4 MB.
_MAX_PIXELS = 1_000_000
_MAX_IMAGES = 2000  # however small
# Heat maps are smooth: 32 shades are enough, and halve the size of the sheet.
_SHADES = 32
_SAMPLES = _MISTAKES = 30

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a network on a split, one entry per image.

    Attributes:
        names: as in the data set.
        truth, predicted: int64 (num_images,), indices into the class names.
        confidence: float64 (num_images,), the probability of the predicted class.
    """

    names: tuple[str, ...]
    truth: Indices
    predicted: Indices
    confidence: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Selection:
    """The images of a page; all lists contain places in `indices`.

    Attributes:
        indices: int64 (num_selected,), images of the split, in its order.
        cells: images by (truth, predicted); the least confident first if the two agree, else the most confident first.
        samples: chosen at random.
        mistakes: the most confident ones.
    """

    indices: Indices
    cells: dict[tuple[int, int], list[int]]
    samples: list[int]
    mistakes: list[int]


@dataclass(frozen=True, eq=False)
class Album:
    """What the scripts of a page need to show images.

    Attributes:
        sheets: data URIs: "images", and the heat maps "predicted" and "truth"; empty if there are no pictures.
        data: the classes; name, truth, prediction and confidence of each image; side and columns of the sheets;
            photographs by the number of the image, if there are any.
    """

    sheets: Mapping[str, str]
    data: Mapping[str, Any]


def num_images_that_fit(side: int) -> int:
    """Return how many images with this side, in pixels, a page can hold."""
    return min(_MAX_IMAGES, _MAX_PIXELS // min(side, SIDE_PX) ** 2)


def select(predictions: Predictions, most: int, seed: int = 0) -> Selection:
    """Choose about `most` images: some at random, the worst mistakes, and the same number from each cell.

    Args:
        predictions: of the whole split.
        most: number of images; samples and mistakes come first, the cells share the rest.
        seed: of the random images.
    """
    truth, predicted, confidence = predictions.truth, predictions.predicted, predictions.confidence
    num_images = len(truth)
    samples = generator(seed, "samples").permutation(num_images)[:_SAMPLES]
    wrong = np.flatnonzero(truth != predicted)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]

    order = np.lexsort((np.where(truth == predicted, confidence, -confidence), predicted, truth))
    starts = np.flatnonzero(np.diff(truth[order], prepend=-1) | np.diff(predicted[order], prepend=-1))
    cells = np.split(order, starts[1:]) if num_images else []
    room = most - len(samples) - len(mistakes)
    share = _share([len(cell) for cell in cells], room)
    shown = [cell[:share] for cell in cells] if share else _one_each(cells, truth, predicted, room)

    indices = np.unique(np.concatenate([samples, mistakes, *shown])).astype(np.int64)
    return Selection(
        indices=indices,
        cells={
            (int(truth[cell[0]]), int(predicted[cell[0]])): np.searchsorted(indices, cell).tolist()
            for cell in shown
            if len(cell)
        },
        samples=np.searchsorted(indices, samples).tolist(),
        mistakes=np.searchsorted(indices, mistakes).tolist(),
    )


def make_album(
    classes: Sequence[str],
    predictions: Predictions,
    selection: Selection,
    images: npt.NDArray[np.uint8] | None = None,
    heat: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> Album:
    """Collect the selected images of a page.

    Args:
        classes: class names.
        predictions: of the whole split.
        selection: the images of the page.
        images: uint8 (num_selected, channels, height, width), square; None if they cannot be read.
        heat: heat maps for the "predicted" class and for the "truth", float32 (num_selected, height, width), 0 to 1.
    """
    chosen = selection.indices
    sheets, side, columns = {}, SIDE_PX, max(1, round(len(chosen) ** 0.5))
    if images is not None:
        side = min(images.shape[-1], SIDE_PX)
        sheets["images"] = _sheet(resized(images, side), columns)
        for kind, maps in (heat or {}).items():
            shades = np.round(np.round(maps * (_SHADES - 1)) * (255 / (_SHADES - 1))).astype(np.uint8)
            sheets[kind] = _sheet(resized(shades[:, None], side), columns)
    data = {
        "side": side,
        "columns": columns,
        "classes": [one_line(name) for name in classes],
        "names": [one_line(predictions.names[index]) for index in chosen],
        "truth": predictions.truth[chosen].tolist(),
        "predicted": predictions.predicted[chosen].tolist(),
        "confidence": [round(value, 6) for value in predictions.confidence[chosen].tolist()],
    }
    return Album(sheets, data)


def picture_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """Return uint8 (height, width, channels: 1, 3, or 4 with opacity) as a data URI of lossless WebP."""
    content = io.BytesIO()
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, 2)
    # More effort (quality 100) takes nearly three times as long for 0.4% less.
    Image.fromarray(pixels).save(content, "WEBP", lossless=True, quality=50, method=4)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def _sheet(images: npt.NDArray[np.uint8], columns: int) -> str:
    """Return images, (num_images, channels, side, side), as one picture with `columns` per row."""
    num_images, channels, side, _ = images.shape
    rows = -(-num_images // columns)
    sheet = np.zeros((rows * columns, channels, side, side), np.uint8)
    sheet[:num_images] = images
    sheet = sheet.reshape(rows, columns, channels, side, side).transpose(0, 3, 1, 4, 2)
    return picture_uri(sheet.reshape(rows * side, columns * side, channels))


def _one_each(cells: list[Indices], truth: Indices, predicted: Indices, room: int) -> list[Indices]:
    """Return the first image of so many cells as there is room for: those of the commonest mistakes first."""
    order = sorted(cells, key=lambda cell: (truth[cell[0]] == predicted[cell[0]], -len(cell)))
    return [cell[:1] for cell in order[: max(room, 0)]]


def _share(sizes: list[int], most: int) -> int:
    """Return how many images each cell may take so that all cells together take at most `most`."""
    share = 0
    while share < max(sizes, default=0) and sum(min(size, share + 1) for size in sizes) <= most:
        share += 1
    return share
