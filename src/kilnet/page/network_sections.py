"""Sections about the network itself: its first filters and its layers."""

from collections.abc import Sequence

import numpy as np

from kilnet.errors import ModelError
from kilnet.inference.classifier import Classifier
from kilnet.inspection.filters import filters
from kilnet.inspection.layer_table import LayerRow, layer_table
from kilnet.page.album import picture_uri
from kilnet.page.document import Section

_MAX_FILTERS = 128
_COLUMNS = 8  # these fit on a phone
_FILTER_PX, _GAP_PX = 30, 5


def network(classifier: Classifier) -> list[Section]:
    """Return the filters of the first convolution, if there is one, and the table of layers."""
    sections = [_layers(layer_table(classifier))]
    try:
        return [_filters(classifier), *sections]
    except ModelError:  # a network without convolutions
        return sections


def _filters(classifier: Classifier) -> Section:
    grid = filters(classifier)
    pictures = grid.pictures[:_MAX_FILTERS]
    height, width = pictures.shape[1:3]
    zoom = max(1, _FILTER_PX // max(height, width))
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    step_y, step_x = zoom * height + _GAP_PX, zoom * width + _GAP_PX
    sheet = np.zeros(
        (rows * step_y - _GAP_PX, columns * step_x - _GAP_PX, 4), np.uint8
    )  # the gaps are transparent
    for number, picture in enumerate(np.round(255 * pictures).astype(np.uint8)):
        top, left = number // columns * step_y, number % columns * step_x
        large = picture.repeat(zoom, 0).repeat(zoom, 1)
        square = sheet[top : top + large.shape[0], left : left + large.shape[1]]
        square[..., :3] = large if large.ndim == 3 else large[..., None]
        square[..., 3] = 255
    is_colour = pictures.ndim == 4
    num_filters = len(grid.pictures)
    shown = (
        f"{num_filters} filters"
        if num_filters <= _MAX_FILTERS
        else f"The first {len(pictures)} of {num_filters} filters"
    )
    hint = (
        f"{shown} of {width}×{height} weights of {grid.layer}, the first convolution; "
        f"{'red, green and blue show' if is_colour else 'grey shows'} the weights from {grid.low:.3g} (dark) to "
        f"{grid.high:.3g} (bright), on the same scale for all filters."
    )
    content = {
        "hint": hint,
        "uri": picture_uri(sheet),
        "width": sheet.shape[1],
        "height": sheet.shape[0],
        "alt": f"{shown} of {grid.layer} as {'coloured' if is_colour else 'grey'} squares, {columns} per row",
    }
    return Section("filters", "Filters", "picture", content)


def _layers(rows: Sequence[LayerRow]) -> Section:
    num_parameters, num_multiply_adds = (
        sum(row.num_parameters for row in rows),
        sum(row.num_multiply_adds for row in rows),
    )
    milliseconds = sum(row.milliseconds for row in rows)
    names = ("layer", "kind", "input", "output", "parameters", "multiply-adds per image", "ms for 64 images")
    heads = [{"title": name, "kind": "number" if place >= 4 else ""} for place, name in enumerate(names)]
    content = {
        "caption": f"In total: {num_parameters:,} parameters, {num_multiply_adds:,} multiply-adds per image, "
        f"{milliseconds:.1f} ms for 64 images on the machine that wrote this page",
        "hint": "In the order in which the network runs them; shapes are channels, height, width.",
        "sortable": True,
        "heads": heads,
        "rows": [{"mark": False, "cells": _cells(row)} for row in rows],
    }
    return Section("layers", "Layers", "table", content)


def _cells(row: LayerRow) -> list[dict[str, str]]:
    words = [row.name or "between the layers", row.kind if row.name else ""]
    words += [" × ".join(map(str, shape)) for shape in (row.input_shape, row.output_shape)]
    numbers = [(f"{number:,}", str(number)) for number in (row.num_parameters, row.num_multiply_adds)]
    numbers.append((f"{row.milliseconds:.2f}", str(row.milliseconds)))
    return [
        *({"text": word, "value": word} for word in words),
        *({"text": text, "value": value} for text, value in numbers),
    ]
