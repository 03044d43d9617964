"""Corrections applied to data of every kind: a folder, a table, an archive, a built-in set, arrays in memory."""

import zipfile

import numpy as np
import pytest

import kilnet
from corrections_tables import write
from kilnet.config import DataConfig
from kilnet.data.sources import in_memory, load_dataset
from kilnet.errors import DataError, RunFolderError
from picture_folders import load, make_folder
from small_runs import SMALL, make_dataset

SPLITS = ("train", "validation", "test")


@pytest.fixture
def photos(tmp_path):
    return make_folder(tmp_path / "photos", ("cat", "dog"), 10)


def labels_of(dataset):
    return {
        name: (split, dataset.classes[label])
        for split in SPLITS
        for name, label in zip(dataset.split(split).names, dataset.split(split).labels, strict=True)
    }


def test_labels_change_and_images_go_in_the_splits_that_there_were(photos, tmp_path):
    before = labels_of(load(photos))
    one = next(name for name, (split, label) in before.items() if (split, label) == ("train", "cat"))
    other = next(name for name, (split, _) in before.items() if split == "validation")
    gone = next(name for name, (split, label) in before.items() if (split, label) == ("test", "dog"))
    rows = [(one, "cat", "wrong", "dog"), (other, before[other][1], "right", ""), (gone, "dog", "remove", "")]
    dataset = load(photos, corrections=str(write(tmp_path / "c.csv", *rows)))
    expected = {**before, one: ("train", "dog")}
    del expected[gone]
    assert labels_of(dataset) == expected
    assert dataset.corrections.changed == {"train": 1, "validation": 0, "test": 0}
    assert dataset.corrections.removed == {"train": 0, "validation": 0, "test": 1}
    images = dict(zip(load(photos).train.names, load(photos).train.images, strict=True))
    assert all(
        (images[name] == image).all()
        for name, image in zip(dataset.train.names, dataset.train.images, strict=True)
    )


def test_tables_and_archives_are_corrected_by_the_names_in_them(photos, tmp_path):
    kilnet.inspect_data(photos, write_table=tmp_path / "labels.csv", progress=False)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    for source, name in (("labels.csv", "photos/cat/0.png"), ("photos.zip", "cat/0.png")):
        table = write(tmp_path / "c.csv", (name, "cat", "wrong", "dog"))
        dataset = load(tmp_path / source, corrections=str(table))
        assert labels_of(dataset)[name][1] == "dog"
        assert sum(dataset.corrections.changed.values()) == 1


def test_built_in_data_and_arrays_are_corrected_by_number(tmp_path):
    table = write(tmp_path / "c.csv", ("0000", "0", "wrong", "8"), ("0001", "1", "remove", ""))
    found = labels_of(load_dataset(DataConfig(source="digits", corrections=str(table))))
    assert found["0000"][1] == "8"
    assert "0001" not in found
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    data = images, np.arange(40) % 2
    table = write(tmp_path / "c.csv", ("train/00003", "1", "wrong", "0"))
    config = DataConfig(corrections=str(table), num_train=5)
    dataset = in_memory(data, config)
    assert labels_of(in_memory(data, DataConfig(corrections=str(table))))["train/00003"][1] == "0"
    assert len(dataset.train) == 5
    whole = make_dataset()
    with pytest.raises(DataError, match="two images of the data have this name"):
        in_memory(whole, DataConfig(corrections=str(write(tmp_path / "c.csv", ("3", "light", "right", "")))))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("cat/77.png", "cat", "right", ""), "line 2 (cat/77.png): the data has no such image"),
        (("elsewhere/3.png", "cat", "right", ""), "the data has no such image; there is "),
        (
            ("cat/3.png", "dog", "right", ""),
            "line 2 (cat/3.png): its label is dog there, but cat in the data",
        ),
        (("cat/3.png", "cat", "wrong", "dgo"), "line 2 (cat/3.png): no class dgo; did you mean dog?"),
    ],
)
def test_a_line_that_does_not_fit_the_data_is_named(photos, tmp_path, row, message):
    table = write(tmp_path / "c.csv", row)
    with pytest.raises(DataError) as caught:
        load(photos, corrections=str(table))
    assert str(caught.value).startswith(f"{table}: ")
    assert message in str(caught.value)


def test_a_class_without_images_is_refused(photos, tmp_path):
    rows = [
        (name, "cat", "wrong", "dog")
        for name, (_, label) in labels_of(load(photos)).items()
        if label == "cat"
    ]
    with pytest.raises(DataError, match="class cat has no image left to train on"):
        load(photos, corrections=str(write(tmp_path / "c.csv", *rows)))


def test_the_inventory_counts_what_is_left(photos, tmp_path):
    table = write(
        tmp_path / "c.csv", ("cat/0.png", "cat", "wrong", "dog"), ("cat/1.png", "cat", "remove", "")
    )
    found = kilnet.inspect_data(photos, settings={"data.corrections": str(table)}, progress=False)
    counts = {name: sum(split[name] for split in found.num_images.values()) for name in found.classes}
    assert counts == {"cat": 8, "dog": 11}


def test_the_inventory_reads_the_corrections_once(photos, tmp_path):
    """Near-duplicates of what is left are named by the pictures that are left."""
    for name in ("cat/3.png", "cat/9.png", "dog/8.png"):
        (photos / name).write_bytes((photos / "dog/2.png").read_bytes())
    table = write(
        tmp_path / "c.csv", ("cat/3.png", "cat", "remove", ""), ("cat/9.png", "cat", "wrong", "dog")
    )
    for source, changes in ((photos, {"data.corrections": str(table)}), (photos, None)):
        found = kilnet.inspect_data(source, settings=changes, progress=False)
        in_two_classes = {name for pair in found.duplicates_across_classes for name in pair}
        assert in_two_classes == (set() if changes else {"cat/3.png", "cat/9.png", "dog/2.png", "dog/8.png"})
        note = next(note for note in found.notes if "show nearly the same" in note)
        assert note.startswith("3 pictures" if changes else "4 pictures")


def test_only_what_changes_the_data_changes_its_fingerprint(photos, tmp_path):
    plain = load(photos)
    of_test = plain.test.names[0]

    def fingerprint(*rows):
        return load(photos, corrections=str(write(tmp_path / "c.csv", *rows))).fingerprint

    row, noted = ("cat/0.png", "cat", "wrong", "dog"), ("cat/1.png", "cat", "right", "")
    assert fingerprint(row) == fingerprint(noted, row)
    others = {plain.fingerprint, fingerprint(row), fingerprint((of_test, of_test[:3], "remove", ""))}
    assert len(others) == 3, "test images count too"


@pytest.mark.slow
def test_a_run_keeps_its_corrections_and_refuses_others(photos, tmp_path, monkeypatch):
    table = write(tmp_path / "c.csv", ("cat/0.png", "cat", "wrong", "dog"))
    settings = {**SMALL, "data.corrections": str(table), "training.epochs": 1, "training.batch_size": 4}
    run = kilnet.train(photos, out=tmp_path / "run", settings=settings, progress=False)
    recorded = run.environment["data"]["corrections"]
    assert sum(recorded["changed"].values()) == 1
    assert recorded["file"] == run.config.data.corrections == str(table)
    card = kilnet.report(run, progress=False).read_text("utf-8")
    assert "1 label is changed and 0 images are removed by c.csv" in card
    assert recorded["sha256"] in card
    # A verdict that changes nothing is no other data; another label is, also of a test image.
    same = write(table, ("cat/0.png", "cat", "wrong", "dog"), ("cat/1.png", "cat", "right", ""))
    kilnet.train(photos, out=tmp_path / "run", settings=settings, progress=False)
    of_test = next(name for name in load(photos).test.names if name != "cat/0.png")
    write(same, ("cat/0.png", "cat", "wrong", "dog"), (of_test, of_test[:3], "remove", ""))
    with pytest.raises(RunFolderError, match="the data is not what this run began with"):
        kilnet.train(photos, out=tmp_path / "run", settings=settings, progress=False)
    assert sum(kilnet.Run(tmp_path / "run").own_data().corrections.changed.values()) == 1, "from its own copy"
    with pytest.raises(RunFolderError, match=r"data\.corrections"):
        kilnet.train(
            photos, out=tmp_path / "run", settings={**settings, "data.corrections": None}, progress=False
        )


def test_images_that_workers_share_keep_their_corrections(photos, tmp_path):
    from kilnet.tuning.backends.shared_images import map_images, share_images

    dataset = load(photos, corrections=str(write(tmp_path / "c.csv", ("cat/0.png", "cat", "wrong", "dog"))))
    share_images(dataset, tmp_path / "shared")
    assert map_images(tmp_path / "shared").fingerprint == dataset.fingerprint
    assert map_images(tmp_path / "shared").corrections == dataset.corrections
