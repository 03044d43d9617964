"""Figures of a run and its evaluation."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure as PlainFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kilnet.errors import InputError
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import wilson_interval
from kilnet.runs.wording import accuracy_with_interval, shorten
from kilnet.storage import write_bytes

Normalise = Literal["counts", "recall", "precision"]

MAX_CLASSES_WITH_NUMBERS = 20
DOTS_PER_INCH = 150
_MAX_NAMES = 100
_TRAIN, _VALIDATION = "#0072b2", "#d55e00"  # Okabe and Ito 2008: safe for colour-blind readers
_GREY = "#666666"
_MAPS: dict[Normalise, tuple[str, str]] = {
    "counts": ("Confusion matrix", "images"),
    "recall": ("Recall: where the images of a class go", "of the true class"),
    "precision": ("Precision: where the images of a prediction come from", "of the predicted class"),
}


class Figure(PlainFigure):
    """A matplotlib figure that a notebook displays without pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self, dots_per_inch=100)


def learning_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw the loss and accuracy of training and validation by epoch, and mark the epoch whose weights are kept.

    Args:
        history: rows with `epoch`, `train_loss`, `validation_loss` (nats), `train_accuracy` and
            `validation_accuracy` (fractions) and `is_best`; the last best epoch is the one that is kept.

    Raises:
        InputError: `history` is empty.
    """
    if not history:
        raise InputError("no epoch to draw; train for at least one")
    epochs = [row["epoch"] for row in history]
    best = max(index for index, row in enumerate(history) if row["is_best"])

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, 2))
    for axes, quantity, scale in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
        for split, colour in (("train", _TRAIN), ("validation", _VALIDATION)):
            values = [scale * row[f"{split}_{quantity}"] for row in history]
            marker = "o" if len(history) <= 30 else ""
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3.5, label=split)
            if split == "validation":
                axes.plot(epochs[best], values[best], "o", color=colour, markersize=9, fillstyle="none")
        kept = f"kept: epoch {epochs[best]:g}"
        axes.axvline(epochs[best], color=_GREY, linestyle=":", linewidth=1, label=kept)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axes.set(title=quantity.capitalize(), xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        _tidy(axes, grid="both")
    panels[0].set_ylabel("cross-entropy (nats per image)")
    panels[1].set_ylabel("accuracy (%)")
    panels[0].legend(frameon=False)
    return figure


def confusion_matrix(evaluation: Evaluation, normalise: Normalise = "counts") -> Figure:
    """Draw the confusion matrix: rows are the truth, columns the prediction.

    With up to 20 classes, cells show their numbers, except percentages below 0.5. Colours follow the square root, so
    that rare mistakes are visible beside the diagonal; an undefined ratio is grey.

    Args:
        evaluation: the evaluation.
        normalise: "counts", "recall" (each row sums to 100%) or "precision" (each column does).
    """
    num_classes = len(evaluation.classes)
    title, unit = _MAPS[normalise]
    values = _cells(evaluation, normalise)
    largest = 100.0 if normalise != "counts" else max(float(values.max()), 1.0)

    cell_inches = 0.46 if num_classes <= MAX_CLASSES_WITH_NUMBERS else 0.13
    side = min(max(cell_inches * num_classes, 2.6), 13)
    figure = Figure(figsize=(side + 2.6, side + 1.7), layout="compressed")
    axes = figure.subplots()
    axes.set_facecolor("#dddddd")
    image = axes.imshow(np.ma.masked_invalid(values), cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=largest))
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, aspect=30)
    bar.set_label(unit)
    if normalise != "counts":
        bar.ax.yaxis.set_major_formatter(PercentFormatter())
    bar.outline.set_visible(False)

    _name_ticks(axes.yaxis, evaluation.classes)
    _name_ticks(axes.xaxis, evaluation.classes, rotation=90)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"{title}\n{_subtitle(evaluation)}", fontsize=10, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if num_classes <= MAX_CLASSES_WITH_NUMBERS:
        _write_numbers(axes, values, largest, size=min(17 * side / num_classes, 14))
    return figure


def per_class(evaluation: Evaluation) -> Figure:
    """Draw the recall and precision of each class as bars with 95% Wilson intervals.

    Dashed lines are the macro averages. A class without images has no recall, and a class that was never predicted has
    no precision; their bars are missing.
    """
    num_classes = len(evaluation.classes)
    row_inches = 0.3 if num_classes <= MAX_CLASSES_WITH_NUMBERS else 0.15
    figure = Figure(figsize=(9, min(row_inches * num_classes, 16) + 1.7), layout="constrained")
    recall, precision = figure.subplots(1, 2, sharey=True)
    num_correct = evaluation.num_correct_per_class
    _draw_bars(recall, num_correct, evaluation.support, evaluation.macro_recall, _TRAIN)
    recall.set(title="Recall", xlabel="found, of the class's images (%)")
    _draw_bars(precision, num_correct, evaluation.num_predicted, evaluation.macro_precision, _VALIDATION)
    precision.set(title="Precision", xlabel="right, of the images predicted as it (%)")
    _name_ticks(recall.yaxis, evaluation.classes)
    recall.set_ylim(num_classes - 0.4, -0.6)
    figure.suptitle(_subtitle(evaluation), fontsize=10, parse_math=False)
    return figure


def save(figure: PlainFigure, path: Path, dots_per_inch: int = DOTS_PER_INCH) -> None:
    """Write a figure as PNG; the same figure gives the same bytes.

    Raises:
        StorageError: the file cannot be written.
    """
    write_bytes(path, png(figure, dots_per_inch))


def png(figure: PlainFigure, dots_per_inch: int) -> bytes:
    """Return a figure as the bytes of a PNG."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # The font lacks the script of a class name: boxes are drawn, and there is nothing to be done.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(content, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return content.getvalue()


def _cells(evaluation: Evaluation, normalise: Normalise) -> npt.NDArray[np.float64]:
    """Return counts, or percentages, which are NaN in an empty row or column."""
    counts = evaluation.confusion.astype(np.float64)
    if normalise == "counts":
        return counts
    totals = evaluation.support[:, None] if normalise == "recall" else evaluation.num_predicted[None, :]
    return 100 * counts / np.where(totals > 0, totals, np.nan)


def _write_numbers(axes: Axes, values: npt.NDArray[np.float64], largest: float, size: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        if not value >= 0.5:  # NaN as well
            continue
        text = f"{value:.0f}"
        fitting = size if len(text) < 5 else 0.75 * size
        colour = "white" if value > 0.4 * largest else "#222222"
        axes.text(column, row, text, ha="center", va="center", fontsize=fitting, color=colour)


def _draw_bars(
    axes: Axes,
    num_correct: npt.NDArray[np.int64],
    num_images: npt.NDArray[np.int64],
    average: float,
    colour: str,
) -> None:
    rows = np.flatnonzero(num_images)
    ratios = num_correct[rows] / num_images[rows]
    intervals = [wilson_interval(int(num_correct[row]), int(num_images[row])) for row in rows]
    reach = np.abs(np.reshape(intervals, (-1, 2)) - ratios[:, None]).T
    whiskers = {"elinewidth": 1, "ecolor": "#222222"}
    axes.barh(rows, 100 * ratios, xerr=100 * reach, height=0.75, color=colour, alpha=0.55, error_kw=whiskers)
    if not math.isnan(average):
        axes.axvline(100 * average, color=_GREY, linestyle="--", linewidth=1)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    _tidy(axes, grid="x")


def _name_ticks(axis: Axis, classes: Sequence[str], rotation: float = 0) -> None:
    step = math.ceil(len(classes) / _MAX_NAMES)
    names = [shorten(name, 20) for name in classes[::step]]
    size = 9 if len(classes) <= MAX_CLASSES_WITH_NUMBERS else 6
    # without parse_math, a dollar sign in a class name is a dollar sign
    axis.set_ticks(range(0, len(classes), step), names, fontsize=size, rotation=rotation, parse_math=False)


def _subtitle(evaluation: Evaluation) -> str:
    return f"{shorten(evaluation.split, 20)}: accuracy {accuracy_with_interval(evaluation)}"


def _tidy(axes: Axes, grid: Literal["x", "y", "both"]) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#e5e5e5", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
