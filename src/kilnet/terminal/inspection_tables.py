"""What is inside a network, as tables for a terminal of 80 columns."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kilnet.inspection.label_errors import SuspectedLabel
from kilnet.inspection.layer_table import LayerRow
from kilnet.runs.wording import one_line, percent, shorten
from kilnet.terminal.tables import empty_table

MAX_LINES = 15
"""Most suspected labels that are listed; the CSV file and the JSON list all."""


def inspection_tables(
    layers: Sequence[LayerRow],
    suspects: Sequence[SuspectedLabel],
    num_checked: int,
    duplicates: Mapping[str, Sequence[Sequence[str]]],
) -> Group:
    """Return the layers, the suspected labels and the duplicates as tables."""
    parts: list[RenderableType] = [
        layers_table(layers),
        suspected_labels_tables(suspects, num_checked),
        duplicates_lines(duplicates),
    ]
    return Group(*(line for part in parts for line in (part, Text())))


def layers_table(rows: Sequence[LayerRow]) -> Table:
    """Return one row per layer with shapes, parameters, multiply-adds and time, and a row with the totals."""
    numbers = ["input", "output", "parameters", "multiply-adds", "ms"]
    table = empty_table("Layers", ["layer", "kind"], numbers, name_width=20)
    for row in rows:
        name = shorten(row.name, 20) if row.name else "between layers"
        shapes = ["×".join(map(str, shape)) for shape in (row.input_shape, row.output_shape)]
        table.add_row(
            Text(name),
            Text(shorten(row.kind, 14)),
            *shapes,
            f"{row.num_parameters:,}" if row.num_parameters else "",
            _short(row.num_multiply_adds),
            f"{row.milliseconds:.2f}",
        )
    table.add_section()
    num_parameters = sum(row.num_parameters for row in rows)
    num_multiply_adds = sum(row.num_multiply_adds for row in rows)
    milliseconds = sum(row.milliseconds for row in rows)
    totals = (f"{num_parameters:,}", _short(num_multiply_adds), f"{milliseconds:.2f}")
    table.add_row("total", "", "", "", *totals)
    table.caption = "multiply-adds for one image; milliseconds for 64 images"
    table.caption_justify = "left"
    return table


def suspected_labels_tables(suspects: Sequence[SuspectedLabel], num_checked: int) -> Group:
    """Return the suspected labels, the worst first, and advice."""
    heading = Text(f"{len(suspects):,} of {num_checked:,} labels are suspected", "bold")
    if not suspects:
        return Group(heading)
    names = ["image", "split", "label", "network says"]
    table = empty_table("", names, ["confidence", "suspicion"], name_width=22)
    for found in suspects[:MAX_LINES]:
        table.add_row(
            Text(shorten(found.name, 22)),
            found.split,
            Text(shorten(found.label, 14)),
            Text(shorten(found.suggested, 14)),
            percent(found.confidence),
            percent(found.suspicion),
        )
    parts: list[RenderableType] = [heading, table]
    if len(suspects) > MAX_LINES:
        parts.append(Text(f"and {len(suspects) - MAX_LINES:,} more", "dim"))
    advice = "Look at an image before you change its label: a weak network suspects many labels wrongly."
    return Group(*parts, Text(advice))


def duplicates_lines(kinds: Mapping[str, Sequence[Sequence[str]]]) -> Group:
    """Return how many pictures occur more than once, with an example of each kind."""
    lines = []
    for kind, groups in kinds.items():
        if groups:
            example = " = ".join(one_line(name) for name in groups[0][:3])
            lines.append(Text(f"{len(groups):,} pictures {kind}, such as {example}", overflow="fold"))
    return Group(*(lines or [Text("no duplicates")]))


def _short(number: int) -> str:
    """Return 12,345,678 as 12.3M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return str(number) if number else ""
