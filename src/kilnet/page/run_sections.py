"""Sections about a run: its training, its settings, the first filters and the layers of its network."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kilnet.config import RunConfig, is_foreign
from kilnet.errors import ModelError
from kilnet.inference.classifier import Classifier
from kilnet.inspection.features import filters
from kilnet.inspection.layer_table import LayerRow, layer_table
from kilnet.page.document import Section, picture_section
from kilnet.page.svg import Axis, Line, fitted_axis, line_chart
from kilnet.runs.wording import counted
from kilnet.training.records import EpochRecord

_MAX_FILTERS = 128
_COLUMNS = 8  # these fit on a phone
_FILTER_PX, _GAP_PX = 30, 5


def curves(history: Sequence[EpochRecord], label_smoothing: float = 0.0) -> Section:
    """Return the loss and accuracy by epoch; the weights of the last best epoch are the ones that are kept.

    Args:
        history: one record per epoch.
        label_smoothing: of the training loss, which then cannot be compared with that of validation.
    """
    kept = [record for record in history if record.is_best][-1]
    num_epochs = history[-1].epoch
    summary = (
        f"{counted(num_epochs, 'epoch')}. The weights of epoch {kept.epoch} are kept: "
        f"validation loss {kept.validation_loss:.4f} nats per image, accuracy {kept.validation_accuracy:.1%}."
    )
    first = history[0].epoch if len(history) > 1 else 0
    epochs = Axis("epoch", first, num_epochs, is_whole=True)
    content: dict[str, Any] = {
        "summary": summary,
        "history": [asdict(record) for record in history],
        "label_smoothing": label_smoothing,
    }
    for quantity, scale, label, pattern in (
        ("loss", 1, "cross-entropy (nats per image)", "{:.4f}"),
        ("accuracy", 100, "accuracy (%)", "{:.1f}%"),
    ):
        lines = [
            Line(kind, [(row.epoch, scale * getattr(row, f"{split}_{quantity}")) for row in history])
            for kind, split in (("first", "train"), ("second", "validation"))
        ]
        values = [value for line in lines for _, value in line.points if math.isfinite(value)]
        title = f"{quantity.capitalize()} of training and validation by epoch. {summary} The table has the numbers."
        readings = [
            (
                train[0],
                f"epoch {train[0]}: training {pattern}, validation {pattern}".format(train[1], other[1]),
            )
            for train, other in zip(*(line.points for line in lines), strict=True)
        ]
        axis = fitted_axis(label, values, 0, 100 if quantity == "accuracy" else None)
        content[quantity] = line_chart(title, epochs, axis, lines, kept.epoch, readings=readings)
        content[f"{quantity}_axis"] = f"axis from {axis.low:.3g} to {axis.high:.3g}, fitted to the data"
    return Section("curves", "Learning curves", "curves", content)


def folds_command(source: str) -> str:
    """Return the command that tries folds on a folder, in which it is given without the path of this machine."""
    return f"kilnet train {shlex.quote(Path(source).name)} --recipe config.toml --folds 5"


def repeat(config: RunConfig, environment: Mapping[str, Any]) -> Section:
    """Return the complete settings, the environment, and the command that repeats the run."""
    named = ["--model", config.model.name] if is_foreign(config.model.name) else []
    command = shlex.join(["kilnet", "train", config.data.source, "--recipe", "config.toml", *named])
    return begun_with("run", config.to_toml(), environment, command)


def begun_with(what: str, toml: str, environment: Mapping[str, Any], command: str | None = None) -> Section:
    """Return the complete settings and the environment of a run or a search, and what repeats it, if given."""
    content = {
        "what": what,
        "command": command,
        "begun_with": environment.get("command", "–"),
        "config": toml,
        "environment": _facts(environment),
    }
    return Section("repeat", "Configuration and environment", "repeat", content)


def _facts(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the environment of a run or a search as names and values."""
    settings = environment.get("settings", {})
    data = environment.get("data", {})
    kinds = [key for key in ("device", "precision", "layout", "threads") if key in settings]
    known = {
        "Kilnet": environment.get("kilnet"),
        "Python": environment.get("python"),
        **environment.get("packages", {}),
        "system": environment.get("system"),
        "machine": environment.get("machine"),
        "computed with": ", ".join(f"{kind} {settings[kind]}" for kind in kinds),
        "measured": settings.get("reason"),
        "data": data.get("name"),
        "fingerprint of training and validation data": data.get("fingerprint"),
        "images to train on": data.get("num_train"),
        "images to validate on": data.get("num_validation"),
        "image shape (channels, height, width)": " × ".join(map(str, data.get("image_shape", []))),
        "corrections": _corrections(data),
        "warnings about the data": "; ".join(data.get("warnings", [])),
        "parameters": environment.get("num_parameters"),
    }
    return [
        (key, f"{value:,}" if isinstance(value, int) else str(value))
        for key, value in known.items()
        if value not in (None, "")
    ]


def _corrections(data: Mapping[str, Any]) -> str | None:
    found = data.get("corrections")
    return f"{found['told']}; SHA-256 {found['sha256']}" if found else None


def network(classifier: Classifier) -> list[Section]:
    """Return the filters of the first convolution, if there is one, and the table of layers."""
    layers = _layers(layer_table(classifier))
    try:
        return [_filters(classifier), layers]
    except ModelError:  # a network without convolutions
        return [layers]


def _filters(classifier: Classifier) -> Section:
    grid = filters(classifier)
    pictures = grid.pictures[:_MAX_FILTERS]
    height, width = pictures.shape[1:3]
    zoom = max(1, _FILTER_PX // max(height, width))
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    step_y, step_x = zoom * height + _GAP_PX, zoom * width + _GAP_PX
    # The gaps are transparent.
    sheet = np.zeros((rows * step_y - _GAP_PX, columns * step_x - _GAP_PX, 4), np.uint8)
    for number, picture in enumerate(np.round(255 * pictures).astype(np.uint8)):
        top, left = number // columns * step_y, number % columns * step_x
        square = sheet[top : top + zoom * height, left : left + zoom * width]
        large = picture.repeat(zoom, 0).repeat(zoom, 1)
        square[..., :3] = large if large.ndim == 3 else large[..., None]
        square[..., 3] = 255
    is_colour = pictures.ndim == 4
    first = "" if len(pictures) == len(grid.pictures) else f"The first {len(pictures)} of "
    shown = f"{first}{len(grid.pictures)} filters"
    hint = (
        f"{shown} of {width}×{height} weights of {grid.layer}, the first convolution; "
        f"{'red, green and blue show' if is_colour else 'grey shows'} the weights from {grid.low:.3g} (dark) to "
        f"{grid.high:.3g} (bright), on the same scale for all filters."
    )
    alt = f"{shown} of {grid.layer} as {'coloured' if is_colour else 'grey'} squares, {columns} per row"
    return picture_section("filters", "Filters", sheet, hint, alt)


def _layers(rows: Sequence[LayerRow]) -> Section:
    num_parameters = sum(row.num_parameters for row in rows)
    num_multiply_adds = sum(row.num_multiply_adds for row in rows)
    milliseconds = sum(row.milliseconds for row in rows)
    names = ("layer", "kind", "input", "output", "parameters", "multiply-adds per image", "ms for 64 images")
    kinds = ("", "minor", "minor whole", "whole", "number", "number minor", "number")
    heads = [{"title": name, "kind": kind} for name, kind in zip(names, kinds, strict=True)]
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
    words = [row.name or "between the layers", row.kind.lstrip("_") if row.name else ""]
    words += [" × ".join(map(str, shape)) for shape in (row.input_shape, row.output_shape)]
    numbers = [(f"{number:,}", str(number)) for number in (row.num_parameters, row.num_multiply_adds)]
    numbers.append((f"{row.milliseconds:.2f}", str(row.milliseconds)))
    return [{"text": text, "value": value} for text, value in [*zip(words, words, strict=True), *numbers]]
