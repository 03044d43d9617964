import io
from dataclasses import replace

import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from kilnet.config import DataConfig
from kilnet.data.class_folders import Problem
from kilnet.data.inventory import Inventory, Sizes, inspect_data
from kilnet.terminal.inventory_tables import inventory_tables

CLEAN = Inventory(
    name="photos",
    classes=("cat", "dog"),
    num_images={
        "train": {"cat": 1200, "dog": 70},
        "validation": {"cat": 130, "dog": 8},
        "test": {"cat": 330, "dog": 22},
    },
    image_shape=(3, 48, 48),
    original_sizes=Sizes((20, 640.0, 4000), (300, 300.0, 300)),
    unusable=(),
    stray=(),
    duplicates_within_class=(),
    duplicates_across_classes=(),
    duplicates_across_splits=(),
    warnings=(),
    notes=(),
)


def shown(inventory, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(inventory_tables(inventory))
    return console.file.getvalue()


def rows(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_counts_are_summed_by_class_and_by_split():
    lines = rows(shown(CLEAN))
    assert ["class", "train", "validation", "test", "total"] in lines
    assert ["cat", "1,200", "130", "330", "1,660"] in lines
    assert ["dog", "70", "8", "22", "100"] in lines
    assert ["total", "1,270", "138", "352", "1,760"] in lines


def test_sizes_before_and_after():
    text = shown(CLEAN)
    assert "48x48 pixels, colour" in text
    assert "width 20 to 4,000 (median 640), height 300 pixels" in text
    assert "32x16 pixels, grey" in shown(replace(CLEAN, image_shape=(1, 16, 32)))
    assert "median" not in shown(replace(CLEAN, original_sizes=None))
    assert "no usable image" in shown(replace(CLEAN, original_sizes=Sizes((0, 0.0, 0), (0, 0.0, 0))))


def test_clean_data_is_called_clean_and_only_then():
    clean = "no unusable files, no stray files, no duplicates"
    assert clean in shown(CLEAN)
    assert clean in shown(replace(CLEAN, notes=("unbalanced",)))
    for field, value in {
        "unusable": (Problem("cat/a.png", "empty file"),),
        "stray": ("readme.txt",),
        "duplicates_within_class": (("cat/a.png", "cat/b.png"),),
        "duplicates_across_classes": (("cat/a.png", "dog/a.png"),),
        "duplicates_across_splits": (("test/cat/a.png", "train/cat/a.png"),),
    }.items():
        assert clean not in shown(replace(CLEAN, **{field: value}))


@pytest.mark.parametrize(("num_files", "more"), [(10, None), (11, "and 1 more"), (1012, "and 1,002 more")])
def test_long_lists_are_cut_and_say_where_the_rest_is(num_files, more):
    files = tuple(Problem(f"cat/{i:04}.png", "empty file") for i in range(num_files))
    text = shown(replace(CLEAN, unusable=files))
    assert f"{num_files:,} unusable files" in text
    assert text.count("empty file") == 10
    assert "cat/0009.png: empty file" in text
    assert "cat/0010.png" not in text
    assert ("the JSON lists all" in text) == (more is not None)
    assert more is None or more in text


def test_duplicates_are_named_with_what_to_do():
    inventory = replace(
        CLEAN,
        duplicates_within_class=(tuple(f"cat/{i}.png" for i in range(5)),),
        duplicates_across_classes=(("cat/x.png", "dog/x.png"), ("cat/y.png", "dog/y.png")),
        duplicates_across_splits=(("test/dog/z.png", "train/dog/z.png"),),
    )
    text = shown(inventory)
    assert "1 picture more than once in one class" in text
    assert "cat/0.png = cat/1.png = cat/2.png and 2 more" in text
    assert "2 pictures in more than one class" in text
    assert "cat/y.png = dog/y.png" in text
    assert "At most one of the labels is right" in text
    assert "1 picture in more than one split" in text
    assert "test/dog/z.png = train/dog/z.png" in text


def test_whatever_files_and_classes_are_called_it_fits_and_nothing_is_interpreted():
    names = ("[bold red]x[/]", "two\nlines", "\x1b[31mred", "猫" * 60, "a " * 90, "broken\udcff")
    inventory = replace(
        CLEAN,
        name="猫" * 60,
        classes=names,
        num_images={split: dict.fromkeys(names, 1_000_000) for split in CLEAN.num_images},
        unusable=tuple(Problem(name, "empty file") for name in names),
        stray=names,
        duplicates_across_classes=(names,),
        warnings=names,
        notes=names,
    )
    text = shown(inventory)
    text.encode()
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert text.count("[bold red]x[/]") == 6  # as a class and in five lists
    assert "two lines" in text
    assert "\x1b" not in text


def test_a_real_folder_from_file_to_report(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.new("RGB", (20 + i, 30), (40 * i, 90 * label, 7)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "dog" / "notes.png").write_text("not an image")
    (tmp_path / "cat" / "again.png").write_bytes((tmp_path / "cat" / "3.png").read_bytes())
    (tmp_path / "plan.txt").write_text("")
    text = shown(inspect_data(DataConfig(source=str(tmp_path))))
    assert "dog/notes.png: no image" in text
    assert "1 stray file\n  plan.txt" in text
    assert "cat/3.png = cat/again.png" in text
    assert "width 20 to 25" in text
    assert next(row for row in rows(text) if row[0] == "total")[-1] == "13"
