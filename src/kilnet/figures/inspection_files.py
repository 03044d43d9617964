"""The inside of a network as files: each picture comes with a table of its numbers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kilnet.figures import inspection_figures as figures
from kilnet.figures.charts import Figure, save
from kilnet.inspection.attribution import Explanation
from kilnet.inspection.features import FeatureMap, FilterGrid
from kilnet.inspection.label_errors import SuspectedLabel
from kilnet.inspection.layer_table import LayerRow
from kilnet.inspection.samples import ConfusedPair, Sample
from kilnet.storage import write_csv
from kilnet.training.run_folder import RunFolder

_SHAPES = ("input_shape", "output_shape")


class InspectionFiles:
    """Writes pictures and tables into a run's folder; `written` lists the files in order.

    Raises:
        StorageError: a file cannot be written (all methods).
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self.written: list[Path] = []

    def layers(self, rows: Sequence[LayerRow]) -> None:
        """Write layers.csv with one line per layer; shapes look like 48x30x30."""
        cells = [vars(row) | {key: "x".join(map(str, getattr(row, key))) for key in _SHAPES} for row in rows]
        self._write("layers", LayerRow.__dataclass_fields__, [line.values() for line in cells])

    def filters(self, grid: FilterGrid, columns: int | None) -> None:
        """Write filters-LAYER with one line per weight."""
        weights = grid.weights if grid.channels[0] is None else grid.weights[..., None]
        lines = (
            (grid.filters[n], channel if grid.channels[0] is None else grid.channels[n], row, column, weight)
            for (n, row, column, channel), weight in np.ndenumerate(weights)
        )
        header = ("filter", "channel", "row", "column", "weight")
        self._write(f"filters-{grid.layer}", header, lines, figures.filters(grid, columns))

    def feature_maps(self, found: FeatureMap, number: int, columns: int | None) -> None:
        """Write feature-maps-NUMBER-LAYER with one line per row of a channel, before and after the activation."""
        header = ("values", "channel", "row", *(f"column {i}" for i in range(found.output.shape[2])))
        lines = (
            [what, channel, row, *(f"{value:.6g}" for value in values[channel, row])]
            for what, values in (("output", found.output), ("activated", found.activated))
            for channel, row in np.ndindex(*values.shape[:2])
        )
        figure = figures.feature_maps([found], columns)
        self._write(f"feature-maps-{number}-{found.layer}", header, lines, figure)

    def attribution(self, figure: Figure, explanations: Sequence[Explanation]) -> None:
        """Write attribution with one line per pixel and class."""
        lines = (
            (found.target, *place, "" if found.grad_cam is None else found.grad_cam[place], value)
            for found in explanations
            for place, value in np.ndenumerate(found.integrated_gradients)
        )
        header = ("class", "row", "column", "grad_cam", "integrated_gradients_logits")
        self._write("attribution", header, lines, figure)

    def samples(self, name: str, title: str, samples: Sequence[Sample], columns: int | None) -> None:
        """Write NAME with one line per image."""
        header = ("name", "truth", "predicted", "confidence")
        lines = ((found.name, found.truth, found.predicted, found.confidence) for found in samples)
        self._write(name, header, lines, figures.contact_sheet(samples, title, columns))

    def confused(self, name: str, title: str, pairs: Sequence[ConfusedPair]) -> None:
        """Write NAME with one line per image and the number of images of its kind."""
        lines = (
            (pair.truth, pair.predicted, pair.num_images, pair.num_of_class, found.name, found.confidence)
            for pair in pairs
            for found in pair.samples
        )
        header = ("truth", "predicted", "num_images", "num_of_class", "name", "confidence")
        self._write(name, header, lines, figures.confused_pairs(pairs, title))

    def label_errors(self, name: str, title: str, suspects: Sequence[SuspectedLabel], count: int) -> None:
        """Write NAME with one line per suspected label; the picture shows the first `count`."""
        columns = [column for column in SuspectedLabel.__dataclass_fields__ if column != "image"]
        lines = ([getattr(found, column) for column in columns] for found in suspects)
        self._write(name, columns, lines, figures.suspected_labels(suspects[:count], title))

    def label_ranking(self, name: str, ranked: Sequence[SuspectedLabel]) -> None:
        """Write NAME.csv with one line per label, all of them, the most suspicious first."""
        columns = [column for column in SuspectedLabel.__dataclass_fields__ if column != "image"]
        self._write(name, columns, ([getattr(found, column) for column in columns] for found in ranked))

    def duplicates(self, kinds: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Write duplicates.csv with one line per picture; equal pictures share a number."""
        groups = [(kind, group) for kind, found in kinds.items() for group in found]
        lines = ((kind, number, name) for number, (kind, group) in enumerate(groups, 1) for name in group)
        self._write("duplicates", ("kind", "group", "name"), lines)

    def _write(
        self, name: str, header: Iterable[str], lines: Iterable[Iterable[Any]], figure: Figure | None = None
    ) -> None:
        if figure is not None:
            picture = self._run.inspection_path(name, "png")
            save(figure, picture)
            self.written.append(picture)
        table = self._run.inspection_path(name, "csv")
        write_csv(table, header, lines)
        self.written.append(table)
