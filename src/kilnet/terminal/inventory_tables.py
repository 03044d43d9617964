"""What `kilnet data` shows: counts, sizes, and the files that need a person."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kilnet.data.inventory import Inventory, Sizes
from kilnet.runs.wording import WORDS, counted, one_line, told_together
from kilnet.terminal.fitted_table import Column, FittedTable
from kilnet.terminal.tables import facts_table

MAX_LINES = 10
"""Most files of each kind that are listed; the JSON lists all."""
_MAX_NAMES = 3  # of equal pictures in one line
MAX_CLASSES = 30
"""With more classes, those with the fewest and with the most images are listed."""

DUPLICATES = {
    "more than once in one class": "Training counts each copy, and no split separates them; one copy is enough.",
    "in more than one class": "At most one of the labels is right; delete the other copies.",
    "in more than one split": "Accuracy on a picture from the training split means nothing; delete it from all splits "
    "but one.",
}
"""The kinds of duplicates in the order of `kilnet.data.inventory.duplicates`, and what to do about them."""


NEAR_DUPLICATES = {
    "in two classes": "If they show the same, at most one of the labels is right.",
    "in two splits": "Accuracy on them flatters; the note says how much.",
}
"""The kinds of pairs that show nearly the same, and what to do about them."""


def inventory_tables(inventory: Inventory) -> Group:
    """Return a summary, the number of images per class and split, then each problem with advice."""
    parts: list[RenderableType] = [_summary(inventory), _counts(inventory)]
    parts += _list("unusable file", [f"{file.path}: {file.reason}" for file in inventory.unusable])
    parts += _list("stray file", inventory.stray, "These are in no class folder, so training ignores them.")
    within, across = inventory.duplicates_within_class, inventory.duplicates_across_classes
    kinds = (within, across, inventory.duplicates_across_splits)
    for groups, (where, advice) in zip(kinds, DUPLICATES.items(), strict=True):
        parts += _list("picture", [_equal(group) for group in groups], advice, where)
    near = (inventory.near_duplicates_across_classes, inventory.near_duplicates_across_splits)
    for pairs, (where, advice) in zip(near, NEAR_DUPLICATES.items(), strict=True):
        parts += _list("pair of near-duplicates", [" ~ ".join(pair) for pair in pairs], advice, where)
    if len(parts) == 2:
        parts.append(Text("no unusable files, no stray files, no duplicates"))
    parts += _list("warning", list(map(WORDS.get(), told_together(inventory.warnings))))
    parts += _list("note", list(map(WORDS.get(), inventory.notes)))
    return Group(*(line for part in parts for line in (part, Text())))


def _summary(inventory: Inventory) -> Table:
    channels, height, width = inventory.image_shape
    rows = {
        "data": one_line(inventory.name),
        "for training": f"{width}x{height} pixels, {'grey' if channels == 1 else 'colour'}",
    }
    if inventory.original_sizes is not None:
        rows["files"] = _sizes(inventory.original_sizes)
    return facts_table(rows)


def _sizes(sizes: Sizes) -> str:
    def spread(pixels: tuple[int, float, int]) -> str:
        low, median, high = pixels
        return f"{low:,}" if low == high else f"{low:,} to {high:,} (median {median:,.0f})"

    if sizes.width[2] == 0:
        return "no usable image"
    return f"width {spread(sizes.width)}, height {spread(sizes.height)} pixels"


def _counts(inventory: Inventory) -> Group:
    heads = [*inventory.num_images, "total"]
    ranks = [1] * len(inventory.num_images) + [0]
    columns = [Column(head, rank=rank) for head, rank in zip(heads, ranks, strict=True)]
    table = FittedTable("Images", [Column("class", "name"), *columns])
    splits = inventory.num_images.values()
    counts = {name: [split[name] for split in splits] for name in inventory.classes}
    names, notes = list(counts), []
    if len(names) > MAX_CLASSES:
        names = sorted(names, key=lambda name: sum(counts[name]))
        half = MAX_CLASSES // 2
        notes.append(Text(f"and {counted(len(names) - 2 * half, 'class')} between; the JSON has all", "dim"))
        names = names[:half] + names[-half:]
    for name in names:
        table.add_row(name, *(f"{count:,}" for count in (*counts[name], sum(counts[name]))))
    totals = [sum(split.values()) for split in splits]
    table.add_section()
    table.add_row("total", *(f"{count:,}" for count in (*totals, sum(totals))))
    return Group(table, *notes)


def _equal(names: Sequence[str]) -> str:
    num_more = len(names) - _MAX_NAMES
    return " = ".join(names[:_MAX_NAMES]) + (f" and {num_more:,} more" if num_more > 0 else "")


def _list(what: str, lines: Sequence[str], advice: str = "", where: str = "") -> list[RenderableType]:
    """Return a heading with the count, the first lines and the advice; nothing if there are no lines."""
    if not lines:
        return []
    heading = Text(f"{counted(len(lines), what)} {where}".rstrip(), "bold")
    shown = [Text(one_line(line), overflow="fold") for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        shown.append(Text(f"and {len(lines) - MAX_LINES:,} more: the JSON lists all", "dim"))
    below = [Text(advice)] if advice else []
    return [Group(heading, *(Padding(line, (0, 0, 0, 2)) for line in shown), *below)]
