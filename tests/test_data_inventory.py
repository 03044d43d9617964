import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image

from kilnet.config import DataConfig
from kilnet.data.inventory import Sizes, inspect_data
from kilnet.errors import DataError

RNG = np.random.default_rng(0)


def save_picture(path: Path, width: int = 20, height: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


def inspect(folder: Path, **settings: object):
    return inspect_data(DataConfig(source=str(folder), **settings))


def test_folder_with_everything_wrong(tmp_path):
    for name, num in (("cat", 60), ("dog", 12)):
        for i in range(num):
            save_picture(tmp_path / name / f"{i}.png", 20 + i, 12)
    with Image.open(tmp_path / "cat" / "0.png") as picture:
        picture.save(tmp_path / "cat" / "same pixels.bmp")
    shutil.copy(tmp_path / "cat" / "1.png", tmp_path / "dog" / "cat.png")
    (tmp_path / "cat" / "words.jpg").write_text("words")
    (tmp_path / "README.md").write_text("mine")
    Image.new("RGB", (9, 9)).save(
        tmp_path / "dog" / "x.gif", save_all=True, append_images=[Image.new("RGB", (9, 9), 1)]
    )

    widths = []
    for path in tmp_path.glob("*/*"):
        if path.suffix != ".jpg":
            with Image.open(path) as picture:
                widths.append(picture.width)

    inventory = inspect(tmp_path)
    assert inventory.classes == ("cat", "dog")
    per_class = {
        name: sum(counts[name] for counts in inventory.num_images.values()) for name in ("cat", "dog")
    }
    assert per_class == {"cat": 61, "dog": 14}
    assert inventory.num_images["test"]["cat"] == pytest.approx(12, abs=1)
    assert inventory.original_sizes == Sizes((9, median(widths), 79), (9, 12, 12))
    assert inventory.image_shape == (3, 42, 42)
    assert [(bad.path, bad.reason[:8]) for bad in inventory.unusable] == [("cat/words.jpg", "no image")]
    assert inventory.stray == ("README.md",)
    assert inventory.duplicates_within_class == (("cat/0.png", "cat/same pixels.bmp"),)
    assert inventory.duplicates_across_classes == (("cat/1.png", "dog/cat.png"),)
    assert inventory.duplicates_across_splits == ()
    assert inventory.warnings == ("dog/x.gif: first of several pictures",)
    assert any("fewer than 50 training images: dog (" in note for note in inventory.notes)
    times = inventory.num_images["train"]["cat"] / inventory.num_images["train"]["dog"]
    assert any(note.startswith(f"unbalanced: class cat has {times:.1f} times") for note in inventory.notes)
    assert json.loads(json.dumps(asdict(inventory)))["unusable"][0]["path"] == "cat/words.jpg"


def test_pictures_that_differ_only_at_full_size_are_no_duplicates(tmp_path):
    large = RNG.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    for name in ("cat", "dog"):
        for i in range(3):
            save_picture(tmp_path / name / f"{i}.png")
    Image.fromarray(large).save(tmp_path / "cat" / "a.png")
    large[0, 0, 0] ^= 1
    Image.fromarray(large).save(tmp_path / "cat" / "b.png")
    assert inspect(tmp_path, image_size=8).duplicates_within_class == ()


def test_leak_between_given_splits_is_found(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            for i in range(2):
                save_picture(tmp_path / split / name / f"{i}.png")
    shutil.copy(tmp_path / "train" / "cat" / "0.png", tmp_path / "test" / "cat" / "seen.png")
    inventory = inspect(tmp_path)
    assert inventory.num_images == {
        "train": {"cat": 2, "dog": 2},
        "validation": {"cat": 2, "dog": 2},
        "test": {"cat": 3, "dog": 2},
    }
    leak = (("test/cat/seen.png", "train/cat/0.png"),)
    assert inventory.duplicates_across_splits == leak
    assert inventory.duplicates_within_class == leak


def test_folder_that_cannot_be_trained_on_is_still_listed(tmp_path):
    save_picture(tmp_path / "cat" / "0.png")
    (tmp_path / "dog").mkdir()
    inventory = inspect(tmp_path)
    assert inventory.num_images["train"] == {"cat": 1, "dog": 0}
    assert "class dog has no usable image" in inventory.notes[0]
    (tmp_path / "cat" / "0.png").write_bytes(b"")
    inventory = inspect(tmp_path)
    assert inventory.original_sizes == Sizes((0, 0.0, 0), (0, 0.0, 0))
    assert inventory.unusable[0].reason == "empty file"


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        inspect(tmp_path / "gone")


def test_digits_hold_no_duplicates():
    inventory = inspect_data(DataConfig(source="digits"))
    assert sum(sum(counts.values()) for counts in inventory.num_images.values()) == 1797
    assert inventory.duplicates_within_class == inventory.duplicates_across_classes == ()
    assert inventory.original_sizes is None


@pytest.mark.slow
def test_trashnet_is_known_to_the_last_file(trashnet_folder):
    inventory = inspect(trashnet_folder)
    counts = {name: sum(split[name] for split in inventory.num_images.values()) for name in inventory.classes}
    assert counts == {
        "cardboard": 403,
        "glass": 501,
        "metal": 410,
        "paper": 594,
        "plastic": 482,
        "trash": 137,
    }
    assert inventory.stray == ("LICENSE.txt",)
    assert inventory.unusable == ()
    assert inventory.duplicates_across_classes == (
        ("glass/glass115.jpg", "metal/metal91.jpg"),
        ("glass/glass176.jpg", "plastic/plastic152.jpg"),
        ("glass/glass389.jpg", "plastic/plastic332.jpg"),
    )
    assert inventory.duplicates_within_class == ()


def test_small_classes_are_one_note_with_the_smallest_first(tmp_path):
    for number in range(7):
        (tmp_path / f"class{number}").mkdir()
        for picture in range(12 - number):
            pixels = np.full((9, 9, 3), 20 * number + picture, np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"class{number}" / f"{picture}.png")
    (note,) = (note for note in inspect_data(DataConfig(source=str(tmp_path))).notes if "fewer" in note)
    told = re.fullmatch(
        r"7 classes have fewer than 50 training images: (.*) and 2 more; their accuracy will be uncertain",
        note,
    )
    counts = [int(count) for count in re.findall(r"class\d \((\d+)\)", told[1])]
    assert len(counts) == 5
    assert counts == sorted(counts)
