"""A table of labels or an archive wherever a folder of pictures may stand."""

import shutil

import numpy as np
import pytest

import kilnet
from kilnet.config import DataConfig
from kilnet.data.sources import located
from kilnet.errors import DataError
from picture_folders import every_image, load, make_folder, save_picture


@pytest.fixture
def photos(tmp_path):
    return make_folder(tmp_path / "photos")


def write(path, *rows, header="path,label"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def rows_of(folder):
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    return [f"{path},{path.split('/')[0]}" for path in paths]


def refusal(source, **settings):
    with pytest.raises(DataError) as caught:
        load(source, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_of_a_folder_is_read_as_the_folder(photos):
    table = write(photos / "labels.csv", *rows_of(photos))
    expected, found = load(photos), load(table)
    assert found.name == "labels"
    assert found.fingerprint == expected.fingerprint
    assert found.test.names == expected.test.names


def test_paths_may_begin_elsewhere(photos, tmp_path):
    (tmp_path / "tables").mkdir()
    table = write(
        tmp_path / "tables" / "labels.tsv",
        *(row.replace(",", "\t") for row in rows_of(photos)),
        header="file\tclass",
    )
    expected = load(photos).fingerprint
    assert load(table, root=str(photos)).fingerprint == expected
    told = refusal(table)
    assert "no picture of its 12 rows is there" in told
    assert "`data.root='...'`" in told
    write(tmp_path / "labels.csv", *rows_of(photos))
    assert f"; `data.root={str(photos)!r}`" in refusal(tmp_path / "labels.csv")
    absolute = write(photos / "absolute.csv", *(f"{photos}/{row}" for row in rows_of(photos)))
    assert load(absolute).fingerprint == expected
    assert "no such folder" in refusal(table, root=str(tmp_path / "gone"))


def test_a_given_split_is_used_as_it_is(photos):
    names = ["train", "Val", "Testset"]
    rows = [f"{row},{names[index % 3]}" for index, row in enumerate(rows_of(photos))]
    dataset = load(write(photos / "labels.csv", *rows, header="path,label,split"))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [4, 4, 4]
    for index, row in enumerate(rows_of(photos)):
        split = (dataset.train, dataset.validation, dataset.test)[index % 3]
        assert row.split(",")[0] in split.names


def test_weights_come_with_the_pictures(photos):
    rows = [f"{row},{index + 1}" for index, row in enumerate(rows_of(photos))]
    dataset = load(write(photos / "labels.csv", *rows, header="path,label,weight"))
    expected = {row.split(",")[0]: float(row.split(",")[2]) for row in rows}
    assert dict(zip(dataset.train.names, dataset.train.weights, strict=True)) == {
        name: expected[name] for name in dataset.train.names
    }
    assert load(photos).train.weights is None
    assert dataset.fingerprint != load(photos).fingerprint
    assert "all weights are 0" in refusal(
        write(photos / "zero.csv", *(f"{row},0" for row in rows_of(photos)), header="path,label,weight")
    )


def test_rows_that_cannot_be_used_fail_or_are_left_out(photos):
    (photos / "cat" / "bad.png").write_bytes(b"words")
    rows = [*rows_of(photos), "cat/gone.png,cat", "../secret.png,cat"]
    table = write(photos / "labels.csv", *rows)
    told = refusal(table)
    assert "3 rows cannot be used, first line 16 (../secret.png): its path leads out of" in told
    assert "`data.on_bad_image='skip'` leaves such rows out" in told
    dataset = load(table, on_bad_image="skip")
    assert sum(1 for _ in every_image(dataset)) == 12
    assert any("3 rows cannot be used" in warning for warning in dataset.warnings)
    problems = {
        problem.path: problem.reason for problem in kilnet.inspect_data(table, progress=False).unusable
    }
    assert problems["line 15 (cat/gone.png)"].startswith("cannot be read: No such file")
    assert problems["line 8 (cat/bad.png)"].startswith("no image")


def test_a_table_whose_paths_all_lead_out_is_told_so(photos):
    told = refusal(write(photos / "labels.csv", "/etc/passwd,cat", "../b.png,dog"))
    assert "line 2 (/etc/passwd): its path leads out of" in told


def test_a_class_that_train_lacks_is_refused(photos):
    rows = [f"{row},train" for row in rows_of(photos)]
    rows[-1] = rows[-1].replace(",dog,train", ",dogs,test")
    told = refusal(write(photos / "labels.csv", *rows, header="path,label,split"))
    assert "line 13 (dog/5.png): test has a class dogs that train lacks; did you mean dog?" in told


def test_options_for_tables_are_refused_elsewhere(photos, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", photos)
    for source in (photos, archive):
        assert "is for a table of labels, and this is none" in refusal(source, columns="label=x")
        assert "`data.root='x'` is for a table" in refusal(source, root="x")


def test_a_file_that_is_neither_is_refused(tmp_path):
    (tmp_path / "labels.txt").write_text("path,label\n")
    assert "a file, not a folder" in refusal(tmp_path / "labels.txt")
    (tmp_path / "labels.csv").mkdir()  # a folder, whatever it is called
    make_folder(tmp_path / "labels.csv")
    assert load(tmp_path / "labels.csv").name == "labels.csv"


@pytest.mark.parametrize("form", ["zip", "gztar"])
def test_an_archive_may_hold_a_table(tmp_path, form):
    folder = tmp_path / "bees"
    for number in range(12):
        save_picture(folder / "pictures" / f"{number}.png")
    (folder / "README.txt").write_text("read me")
    rows = [f"{number}.png,{'good' if number % 2 else 'ill'}" for number in range(12)]
    table = write(folder / "labels.csv", *rows, header="file,health")
    made = shutil.make_archive(str(tmp_path / "packed"), form, tmp_path, "bees")
    settings = {"columns": "label=health", "root": "pictures"}
    found = load(made, **settings)
    assert found.name == "packed"
    expected = load(table, columns="label=health", root=str(folder / "pictures"))
    assert found.fingerprint == expected.fingerprint
    assert "which column has the labels?" in refusal(made)
    assert "`data.root='pictures'`" in refusal(made, columns="label=health")
    assert "no such folder beside labels.csv in it" in refusal(made, columns="label=health", root="../..")


def test_places_are_written_down_whole(photos, tmp_path, monkeypatch):
    write(tmp_path / "labels.csv", *rows_of(photos))
    monkeypatch.chdir(tmp_path)
    config = located(DataConfig(source="labels.csv", root="photos"))
    assert (config.source, config.root) == (str(tmp_path / "labels.csv"), str(photos))
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", photos)
    assert located(DataConfig(source=archive, root="photos")).root == "photos"


def test_a_run_on_a_table_is_evaluated_and_trained_again_from_anywhere(
    photos, tmp_path, monkeypatch, no_figures
):
    write(
        tmp_path / "labels.csv",
        *(f"{row},{1 + index % 2}" for index, row in enumerate(rows_of(photos))),
        header="path,label,weight",
    )
    monkeypatch.chdir(tmp_path)
    settings = {"model.c1": 4, "model.c2": 4, "model.l1": 8, "data.root": "photos"}
    run = kilnet.train("labels.csv", epochs=1, settings=settings, out=tmp_path / "run", progress=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert kilnet.evaluate(run.folder, progress=False).num_images == 2
    again = kilnet.train(
        run.config.data.source, recipe=run.folder / "config.toml", out="again", progress=False
    )
    assert (again.folder / "history.csv").read_bytes() == (run.folder / "history.csv").read_bytes()


def test_known_classes_may_be_few(photos):
    from kilnet.data.sources import to_evaluate

    table = write(photos / "labels.csv", "cat/0.png,cat", "cat/1.png,cat")
    config = DataConfig(source=str(table))
    found = to_evaluate(str(table), config, ("cat", "dog"))
    assert found.classes == ("cat",)
    assert len(found.images) == 2
    with pytest.raises(DataError, match="the network does not know cat"):
        to_evaluate(str(table), config, ("dog", "emu"))
    np.testing.assert_array_equal(found.images.labels, [0, 0])
