"""What names of files tell: series, and photographs beside masks."""

from kilnet.data.file_names import SERIES, pairs_note, series_note
from kilnet.data.groups import names_by_pattern


def test_series_are_proposed_as_groups():
    paths = [f"good/exp{series}_num_{number}.jpg" for series in range(1, 7) for number in range(10 + series)]
    note = series_note(paths)
    assert "6 series, such as exp6_num_ with 16 pictures" in note
    assert f"data.group={SERIES!r}" in note
    assert len(set(names_by_pattern(SERIES, paths))) == 6


def test_names_that_only_count_or_name_their_class_are_no_series():
    assert series_note([f"cat/{number}.jpg" for number in range(100)]) is None
    assert (
        series_note([f"{name}/{name}{number}.jpg" for name in ("cat", "dog") for number in range(50)]) is None
    )
    assert series_note([f"cat/{word}.jpg" for word in "abcdef"]) is None
    assert series_note([f"cat/p{patient}_1.jpg" for patient in range(50)]) is None
    assert series_note([]) is None


def test_pictures_beside_their_masks_are_named():
    paths = ["a/1.jpg", "a/1.png", "a/2.jpg", "b/2.png", "b/3.jpg", "b/3.png"]
    assert pairs_note(paths).startswith(
        "2 names have pictures with different endings, first a/1.jpg and a/1.png;"
    )
    assert pairs_note(paths[:3]).startswith("one name has")
    assert pairs_note(["a/1.jpg", "b/1.png", "a/1.x.png"]) is None
