"""Pictures that belong together: by a pattern on their paths, by EXIF, and joined."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kilnet.data.groups import joined_groups, names_by_exif, names_by_pattern
from kilnet.errors import DataError
from picture_folders import every_image, load, make_folder, save_picture


def same(names):
    """Return which of them are equal, as numbers in order of appearance."""
    return [list(dict.fromkeys(names)).index(name) for name in names]


def test_a_pattern_finds_groups_in_paths():
    paths = ["a/patient1-x.png", "b/patient1-y.png", "a/patient12-x.png", "a/nobody.png", "a/no one.png"]
    assert same(names_by_pattern(r"(?P<group>patient\d+)", paths)) == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [(r"(?P<group>patient\d+", "not a pattern"), (r"(?P<group>plant\d+)", "finds nothing")],
)
def test_a_pattern_that_finds_nothing_is_refused(pattern, told):
    with pytest.raises(DataError, match=told) as caught:
        names_by_pattern(pattern, ["a/patient1-x.png"])
    assert "\n" not in str(caught.value)
    assert "`data.group='" in str(caught.value)


def photograph(path, time, model="X100"):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", model
    exif.get_ifd(0x8769)[0x9003] = time
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)).save(path, exif=exif)


def test_one_camera_within_a_minute_is_one_group(tmp_path):
    shots = {
        "a.jpg": ("2026:01:01 10:00:00", "X100"),
        "b.jpg": ("2026:01:01 10:00:55", "X100"),
        "c.jpg": ("2026:01:01 10:01:50", "X100"),  # 55 s after b
        "d.jpg": ("2026:01:01 10:03:00", "X100"),
        "e.jpg": ("2026:01:01 10:00:01", "X200"),
    }
    for name, (time, model) in shots.items():
        photograph(tmp_path / name, time, model)
    save_picture(tmp_path / "f.png")
    (tmp_path / "g.jpg").write_bytes(b"words")
    photograph(tmp_path / "h.jpg", "yesterday")
    names = names_by_exif(tmp_path, ["d.jpg", "a.jpg", "e.jpg", "b.jpg", "f.png", "c.jpg", "g.jpg", "h.jpg"])
    assert same(names) == [0, 1, 2, 1, 3, 1, 4, 5]
    with pytest.raises(DataError, match="no picture says in its EXIF"):
        names_by_exif(tmp_path, ["f.png"])


def test_groups_are_joined_in_any_steps():
    groups = joined_groups(
        7, [["a", "b", "a", "c", "d", "e", "f"], [1, 2, 3, 2, 4, 5, 6]], np.array([[2, 3]])
    )
    assert same(groups.tolist()) == [0, 0, 0, 0, 1, 2, 3]


def groups_of(dataset, group_of):
    return [
        {group_of(name) for name in split.names}
        for split in (dataset.train, dataset.validation, dataset.test)
    ]


def apart(sets):
    return all(not sets[i] & sets[j] for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.fixture
def patients(tmp_path):
    for patient in range(20):
        for number in range(5):
            save_picture(
                tmp_path / "photos" / ("ill" if patient % 2 else "well") / f"p{patient}_{number}.png"
            )
    return tmp_path / "photos"


@pytest.mark.parametrize("form", ["folder", "archive", "table"])
def test_groups_stay_in_one_split(patients, tmp_path, form):
    source, settings = patients, {"group": r"(?P<group>p\d+)_"}
    if form == "archive":
        source = shutil.make_archive(str(tmp_path / "a"), "zip", patients)
    elif form == "table":
        source, settings = tmp_path / "labels.csv", {"group": "who"}
        rows = [
            f"photos/{p.parent.name}/{p.name},{p.parent.name},{p.name.split('_')[0]}"
            for p in patients.rglob("*.png")
        ]
        source.write_text("\n".join(["path,label,who", *rows]))
    dataset = load(source, **settings)
    assert sum(1 for _ in every_image(dataset)) == 100
    sets = groups_of(dataset, lambda name: name.split("/")[-1].split("_")[0])
    assert apart(sets)
    assert [len(patients) for patients in sets] == [14, 2, 4]
    for split in (dataset.validation, dataset.test):
        assert len(set(np.bincount(split.labels))) == 1  # both classes alike
    assert not apart(groups_of(load(patients), lambda name: name.split("/")[-1].split("_")[0]))


def test_equal_pictures_join_their_groups(patients):
    shutil.copy(patients / "well" / "p0_0.png", patients / "well" / "p2_0.png")
    sets = groups_of(
        load(patients, group=r"(?P<group>p\d+)_"), lambda name: name.split("/")[-1].split("_")[0]
    )
    assert apart(sets)
    assert any({"p0", "p2"} <= patients for patients in sets)


def test_a_group_on_both_sides_of_a_given_split_is_a_warning(tmp_path):
    for split in ("train", "test"):
        make_folder(tmp_path / split, num=8)
    dataset = load(tmp_path, group=r"(?P<group>/\d)")
    assert (
        [warning.split(" are equal")[0] for warning in dataset.warnings]
        == [
            "the given split leaks: 14 of 16 test images",  # validation was split off train without parting a group
            "the given split leaks: 2 of 16 test images",
        ]
    )


def test_a_column_without_a_table_is_refused(patients):
    with pytest.raises(DataError, match="no table has such a column here; write a pattern"):
        load(patients, group="patient")
