"""What is inside a network, as tables for a terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from kilnet.inspection.label_errors import SuspectedLabel, WrongShare
from kilnet.inspection.layer_table import LayerRow
from kilnet.runs.wording import counted, one_line, percent
from kilnet.terminal.fitted_table import Column, FittedTable

MAX_LINES = 15
"""Most suspected labels that are listed; the CSV file and the JSON list all."""
_MAX_LAYERS = 30
_NUM_SLOWEST = 20  # of more layers; layers.csv has all


def inspection_tables(
    layers: Sequence[LayerRow],
    suspects: Sequence[SuspectedLabel],
    num_checked: int,
    wrong_labels: Mapping[str, WrongShare],
    duplicates: Mapping[str, Sequence[Sequence[str]]],
) -> Group:
    """Return the layers, the suspected labels and the duplicates as tables."""
    parts: list[RenderableType] = [
        layers_table(layers),
        suspected_labels_tables(suspects, num_checked, wrong_labels),
        duplicates_lines(duplicates),
    ]
    return Group(*(line for part in parts for line in (part, Text())))


def layers_table(rows: Sequence[LayerRow]) -> Group:
    """Return one row per layer with shapes, parameters, multiply-adds and time, and a row with the totals.

    Of many layers those that take longest are shown, the slowest first.
    """
    shown, title, notes = (
        rows,
        "Layers",
        [Text("multiply-adds for one image; milliseconds for 64 images", "dim")],
    )
    if len(rows) > _MAX_LAYERS:
        shown = sorted(rows, key=lambda row: -row.milliseconds)[:_NUM_SLOWEST]
        title = "Slowest layers"
        notes.append(Text(f"and {len(rows) - _NUM_SLOWEST:,} quicker layers, in layers.csv", "dim"))
    table = FittedTable(
        title,
        [
            Column("layer", "name"),
            Column("kind", "name", rank=2),
            Column("input", rank=4),
            Column("output", rank=3),
            Column("parameters"),
            Column("multiply-adds", rank=1),
            Column("ms", rank=1),
        ],
    )
    for row in shown:
        shapes = ["×".join(map(str, shape)) for shape in (row.input_shape, row.output_shape)]
        table.add_row(
            row.name or "between layers",
            row.kind.lstrip("_"),
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
    return Group(table, *notes)


def suspected_labels_tables(
    suspects: Sequence[SuspectedLabel], num_checked: int, wrong_labels: Mapping[str, WrongShare]
) -> Group:
    """Return the suspected labels, the worst first, how many are estimated to be wrong, and advice."""
    are = "is" if len(suspects) == 1 else "are"
    heading = Text(f"{len(suspects):,} of {counted(num_checked, 'label')} {are} suspected", "bold")
    estimates = [Text(_estimated(split, wrong)) for split, wrong in wrong_labels.items()]
    if not suspects:
        return Group(heading, *estimates)
    table = FittedTable(
        "",
        [
            Column("image", "path"),
            Column("split", "text", rank=3),
            Column("label", "name"),
            Column("network says", "name"),
            Column("confidence", rank=2),
            Column("suspicion", rank=1),
        ],
    )
    for found in suspects[:MAX_LINES]:
        confidence, suspicion = percent(found.confidence), percent(found.suspicion)
        table.add_row(found.name, found.split, found.label, found.suggested, confidence, suspicion)
    parts: list[RenderableType] = [heading, table]
    if len(suspects) > MAX_LINES:
        parts.append(Text(f"and {len(suspects) - MAX_LINES:,} more", "dim"))
    advice = "Look at an image before you change its label: a weak network suspects many labels wrongly."
    return Group(*parts, *estimates, Text(advice))


def _estimated(split: str, wrong: WrongShare) -> str:
    interval = f"{percent(wrong.low)} to {percent(wrong.high)}"
    told = f"{split}: an estimated {percent(wrong.share)} ({interval}) of the labels "
    if wrong.at_random == wrong.share:
        return f"{told}are wrong"
    return (
        f"{told}contradict what the network is sure of, and are wrong unless it errs; "
        f"{percent(wrong.at_random)} if people only err at random"
    )


def duplicates_lines(kinds: Mapping[str, Sequence[Sequence[str]]]) -> Group:
    """Return how many pictures occur more than once, with an example of each kind."""
    lines = []
    for kind, groups in kinds.items():
        if groups:
            example = " = ".join(one_line(name) for name in groups[0][:3])
            lines.append(
                Text(f"{counted(len(groups), 'picture')} {kind}, such as {example}", overflow="fold")
            )
    return Group(*(lines or [Text("no duplicates")]))


def _short(number: int) -> str:
    """Return 12,345,678 as 12.3M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return str(number) if number else ""
