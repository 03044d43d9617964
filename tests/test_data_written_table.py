"""Tables that are written of pictures, to be edited and trained on."""

import csv
import shutil

import pytest

import kilnet
from kilnet.errors import InputError
from picture_folders import load, make_folder


@pytest.fixture
def photos(tmp_path):
    return make_folder(tmp_path / "photos", ("=cat", "dog"))


def rows(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


@pytest.mark.parametrize("where", ["photos/labels.csv", "labels.csv"])
def test_a_written_table_is_read_as_its_folder(photos, tmp_path, where):
    expected = load(photos).fingerprint
    kilnet.inspect_data(photos, write_table=tmp_path / where, progress=False)
    assert len(rows(tmp_path / where)) == 12
    assert load(tmp_path / where).fingerprint == expected


def test_a_table_elsewhere_begins_in_the_folder(photos, tmp_path):
    (tmp_path / "other").mkdir()
    table = tmp_path / "other" / "labels.csv"
    kilnet.inspect_data(photos, write_table=table, progress=False)
    assert load(table, root=str(photos)).fingerprint == load(photos).fingerprint


def test_splits_groups_and_weights_are_written(tmp_path):
    for split in ("train", "val"):
        make_folder(tmp_path / "photos" / split)
    table = tmp_path / "labels.csv"
    kilnet.inspect_data(tmp_path / "photos", write_table=table, progress=False)
    assert {row["split"] for row in rows(table)} == {"train", "validation"}
    lines = table.read_text("utf-8").splitlines()
    more = tmp_path / "more.csv"
    more.write_text("\n".join([f"{lines[0]},group,weight", *(f"{line},g,2" for line in lines[1:])]))
    again = tmp_path / "again.csv"
    kilnet.inspect_data(more, write_table=again, progress=False)
    assert [{**row, "group": "g", "weight": "2.0"} for row in rows(table)] == rows(again)


def test_what_cannot_be_written_is_one_line(photos, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("mine")
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", photos)
    refused = {
        "exists already": (photos, table),
        "ends in .csv": (photos, tmp_path / "labels.txt"),
        "unpack the archive first": (archive, tmp_path / "b.csv"),
        "has no files": ("digits", tmp_path / "b.csv"),
        "in memory": (load(photos), tmp_path / "b.csv"),
    }
    for told, (data, path) in refused.items():
        with pytest.raises(InputError, match=told) as caught:
            kilnet.inspect_data(data, write_table=path, progress=False)
        assert "\n" not in str(caught.value)
    assert table.read_text() == "mine"
