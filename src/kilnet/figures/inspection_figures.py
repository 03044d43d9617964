"""Figures of the inside of a network: filters, feature maps, attributions, predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from kilnet.figures.charts import Figure
from kilnet.figures.mosaics import Band, as_colour, characters_below, columns_for, fitting_scale, mosaic
from kilnet.inspection.attribution import Explanation
from kilnet.inspection.features import FeatureMap, FilterGrid
from kilnet.inspection.label_errors import SuspectedLabel
from kilnet.inspection.samples import ConfusedPair, Sample
from kilnet.runs.wording import shorten

_RIGHT, _WRONG = "#1a6b3a", "#b3261e"
_FILTER_PX, _MAP_PX, _IMAGE_PX = 40, 72, 160
_MAX_SHEET_PX = 6000  # of all kernels of a wide layer
_MAX_COLUMNS = 16
_MAX_MAPS = 32  # of a layer, where several layers share a figure

Pixels = npt.NDArray[np.uint8]


def filters(grid: FilterGrid, columns: int | None = None) -> Figure:
    """Draw filters; each weight is a block of one colour, 255 times its value in `grid.pictures`, rounded.

    Args:
        grid: the filters.
        columns: pictures per row; by default one filter per row if all kernels are shown, else what looks best.
    """
    tiles = as_bytes(grid.pictures)
    side = tiles.shape[2]
    num_channels = len(set(grid.channels))
    colour = grid.channels[0] is None
    columns = columns or (num_channels if num_channels > 1 else columns_for(len(tiles), _MAX_COLUMNS))
    shown = "in colour" if colour else f"channel {grid.channels[0]}" if num_channels == 1 else "all channels"
    num_filters = len(set(grid.filters))
    title = f"{shorten(grid.layer, 40)}: {num_filters} filters, {tiles.shape[1]}×{side}, {shown}"
    what = "in each colour, dark is" if colour else "black is"
    subtitle = f"{what} {grid.low:.3g}, bright {grid.high:.3g}; filter 0 is at the top left, row by row"
    scale = fitting_scale(side, min(_FILTER_PX, _MAX_SHEET_PX // columns))
    return mosaic([Band(title=title, subtitle=subtitle, tiles=tiles, columns=columns, scale=scale)])


def feature_maps(maps: Sequence[FeatureMap], columns: int | None = None) -> Figure:
    """Draw the output of each convolution after its activation, each layer on its own scale.

    If there are several layers, the first 32 channels of each are drawn; of a single layer, all.
    """
    return mosaic([_map_band(found, columns, len(maps) > 1) for found in maps])


def attribution(
    image: Pixels, name: str, explanations: Sequence[Explanation], truth: str | None = None
) -> Figure:
    """Draw an image and, for each class that is explained, Grad-CAM and integrated gradients, with their scales.

    Args:
        image: uint8 (channels, height, width).
        name: of the image.
        explanations: one row each.
        truth: the label of the image, if it has one.
    """
    picture = as_colour(image)
    figure = Figure(figsize=(9.6, 3.3 * len(explanations) + 0.5), layout="constrained")
    panels = figure.subplots(len(explanations), 3, squeeze=False)
    for row, explained in zip(panels, explanations, strict=True):
        label = shorten(explained.target, 20)
        row[0].imshow(picture, interpolation="nearest")
        row[0].set_title(f"class {label}: {explained.probability:.1%}", fontsize=10, parse_math=False)
        _draw_grad_cam(figure, row[1], picture, explained)
        _draw_gradients(figure, row[2], picture, explained)
        for axes in row:
            axes.set_axis_off()
    label = "" if truth is None else f", labelled {shorten(truth, 20)}"
    figure.suptitle(f"{shorten(name, 40)}{label}", fontsize=11, parse_math=False)
    return figure


def contact_sheet(
    samples: Sequence[Sample], title: str, columns: int | None = None, note: str | None = None
) -> Figure:
    """Draw images with label, prediction and confidence below each; `note` explains these lines."""
    if not samples:
        return _empty(title)
    side = samples[0].image.shape[2]
    scale = fitting_scale(side, _IMAGE_PX)
    room = characters_below(side, scale)
    captions = [_caption(sample, room) for sample in samples]
    tiles = np.stack([as_colour(sample.image) for sample in samples])
    num_right = sum(sample.truth == sample.predicted for sample in samples)
    note = note or f"{num_right} right; below each: its label, then the prediction with its confidence"
    subtitle = f"{len(samples)} images, {note}"
    columns = columns or min(6, len(tiles))
    band = Band(title=title, subtitle=subtitle, tiles=tiles, columns=columns, scale=scale, captions=captions)
    return mosaic([band])


def confused_pairs(pairs: Sequence[ConfusedPair], title: str) -> Figure:
    """Draw one row of images per confusion, the most confident first, with the confidence below each."""
    if not pairs:
        return _empty(title)
    bands = [
        Band(
            title=f"{shorten(pair.truth, 24)} taken for {shorten(pair.predicted, 24)}",
            subtitle=f"{pair.num_images} of {pair.num_of_class} images of the class; below each: its confidence",
            tiles=np.stack([as_colour(sample.image) for sample in pair.samples]),
            columns=len(pair.samples),
            scale=fitting_scale(pair.samples[0].image.shape[2], _IMAGE_PX),
            captions=[[(f"{sample.confidence:.0%}", _WRONG)] for sample in pair.samples],
        )
        for pair in pairs
    ]
    return mosaic(bands)


def suspected_labels(suspects: Sequence[SuspectedLabel], title: str) -> Figure:
    """Draw images whose labels are suspected, with the label and the suggestion of the network."""
    samples = [
        Sample(
            image=found.image,
            name=found.name,
            truth=found.label,
            predicted=found.suggested,
            confidence=found.confidence,
        )
        for found in suspects
    ]
    note = "below each: its label, then the class that the network suggests"
    return contact_sheet(samples, title, note=note)


def as_bytes(values: npt.NDArray[np.float32]) -> Pixels:
    """Return values from 0 to 1, (n, height, width) or (n, height, width, 3), as uint8 RGB: times 255, rounded."""
    pixels = np.rint(255 * values).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 3 else pixels


def _map_band(found: FeatureMap, columns: int | None, shortened: bool) -> Band:
    values = found.activated
    num_channels, height, width = values.shape
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    tiles = (colormaps["viridis"](scaled[: _MAX_MAPS if shortened else None])[..., :3] * 255).round()
    shown = f", the first {_MAX_MAPS}" if shortened and num_channels > _MAX_MAPS else ""
    after = f" after {found.activation}" if found.activation else ""
    return Band(
        title=f"{shorten(found.layer, 40)}{after}: {num_channels} channels of {height}×{width}{shown}",
        subtitle=f"dark: {low:.3g}; bright: {high:.3g}; channel 0 is at the top left, row by row",
        tiles=tiles.astype(np.uint8),
        columns=columns or min(_MAX_COLUMNS, len(tiles)),
        scale=fitting_scale(max(height, width), _MAP_PX),
    )


def _draw_grad_cam(figure: Figure, axes: Axes, picture: Pixels, explained: Explanation) -> None:
    if explained.grad_cam is None:
        centre: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no convolution:\nno Grad-CAM", **centre)
        return
    axes.set_title("Grad-CAM", fontsize=10)
    axes.imshow(_faded(picture), interpolation="nearest")
    heat = explained.grad_cam
    drawn = axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6, interpolation="nearest")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="fraction of the largest value")


def _draw_gradients(figure: Figure, axes: Axes, picture: Pixels, explained: Explanation) -> None:
    values = explained.integrated_gradients
    # without the quantile, one extreme pixel would leave all others white
    largest = float(np.quantile(np.abs(values), 0.99)) or float(np.abs(values).max()) or 1.0
    axes.set_title("Integrated gradients", fontsize=10)
    axes.imshow(_faded(picture), interpolation="nearest")
    scale = Normalize(-largest, largest)
    strength = np.clip(np.abs(values) / largest, 0, 1)
    axes.imshow(values, cmap="RdBu_r", norm=scale, alpha=strength, interpolation="nearest")
    bar = ScalarMappable(scale, "RdBu_r")
    figure.colorbar(bar, ax=axes, shrink=0.8, extend="both", label="logits per pixel, compared with black")


def _faded(picture: Pixels) -> Pixels:
    """Return the picture in pale grey, as a background for colours."""
    grey = picture.mean(2, keepdims=True)
    return np.repeat(np.rint(127 + 0.5 * grey), 3, axis=2).astype(np.uint8)


def _caption(sample: Sample, room: int) -> list[tuple[str, str]]:
    confidence, label = f"{sample.confidence:.0%}", (shorten(sample.truth, room), "black")
    if sample.truth == sample.predicted:
        return [label, (f"✓ {confidence}", _RIGHT)]
    predicted = shorten(sample.predicted, max(1, room - len(confidence) - 3))
    return [label, (f"✗ {predicted} {confidence}", _WRONG)]


def _empty(title: str) -> Figure:
    figure = Figure(figsize=(4.8, 1), layout="constrained")
    figure.text(0.5, 0.5, f"{title}: none", ha="center", va="center", parse_math=False)
    return figure
