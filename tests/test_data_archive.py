"""Archives of pictures: read as the folder that they were made of, or refused in one line."""

import gzip
import io
import shutil
import stat
import tarfile
import zipfile

import numpy as np
import pytest

from kilnet.data import archive
from kilnet.data.archive import opened
from kilnet.errors import DataError, UnusableImageError
from picture_folders import every_image, load, make_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "photos")


@pytest.mark.parametrize(("form", "ending"), [("zip", ".zip"), ("tar", ".tar"), ("gztar", ".tar.gz")])
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_an_archive_is_read_as_its_folder(photos, tmp_path, form, ending, is_wrapped):
    where = (photos.parent, photos.name) if is_wrapped else (photos, None)
    made = shutil.make_archive(str(tmp_path / "photos"), form, *where)
    assert made.endswith(ending)
    expected, found = load(photos), load(tmp_path / f"photos{ending}")
    assert found.fingerprint == expected.fingerprint
    assert found.name == "photos"
    assert found.warnings == expected.warnings
    for (name, image, label), (other, pixels, other_label) in zip(
        every_image(expected), every_image(found), strict=True
    ):
        assert (name, label) == (other, other_label)
        np.testing.assert_array_equal(image, pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"photos{ending}"]


def test_an_archive_that_has_changed_is_read_again(photos, tmp_path):
    first = load(shutil.make_archive(str(tmp_path / "photos"), "zip", photos))
    again = make_folder(tmp_path / "others")
    assert load(shutil.make_archive(str(tmp_path / "photos"), "zip", again)).fingerprint != first.fingerprint


def zip_of(path, *names, mode=0o644):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | mode if mode != "link" else stat.S_IFLNK | 0o777) << 16
            file.writestr(info, b"target")
    return path


def tar_of(path, name, **state):
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo(name)
        info.size = 0 if state else 6
        for key, value in state.items():
            setattr(info, key, value)
        file.addfile(info, io.BytesIO(b"target"))
    return path


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.png", "cat/../../a.png", "C:\\a.png", "cat\\..\\..\\a.png"]
)
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path, make, name):
    path = make(tmp_path / ("a.zip" if make is zip_of else "a.tar"), name)
    with pytest.raises(DataError, match="leads out of the archive") as caught, opened(path):
        pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_refused(tmp_path, kind):
    tar = tar_of(tmp_path / "a.tar", "cat/a.png", type=kind, linkname="/etc/passwd")
    for path in (tar, zip_of(tmp_path / "a.zip", "cat/a.png", mode="link")):
        with pytest.raises(DataError, match=r"cat/a\.png in it is a link"), opened(path):
            pass


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_devices_are_refused(tmp_path, kind):
    with (
        pytest.raises(DataError, match="neither a file nor a folder"),
        opened(tar_of(tmp_path / "a.tar", "pipe", type=kind)),
    ):
        pass


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_SMALL", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cat/a.png", bytes(3_000_000))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    for name in ("a.zip", "a.tar.gz"):
        with pytest.raises(DataError, match="unpack to more than 100 times"), opened(tmp_path / name):
            pass


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("content", [b"", b"words", bytes(5000)])
def test_files_that_are_no_archives_are_one_line(tmp_path, ending, content):
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_picture_in_an_archive_is_named(photos, tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        for picture in sorted(photos.rglob("*.png")):
            file.write(picture, picture.relative_to(photos))
        file.writestr("cat/encrypted.png", b"secret")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"secret", b"Secret"))
    with pytest.raises(
        DataError, match=r"1 file is no usable image, first cat/encrypted\.png: cannot be read: Bad CRC"
    ):
        load(path)


def test_no_more_of_a_file_is_read_than_allowed(tmp_path):
    with opened(zip_of(tmp_path / "a.zip", "a.png")) as held:
        assert held.read("a.png") == b"target"
        with pytest.raises(UnusableImageError, match="6 bytes, above the limit of 5"):
            held.read("a.png", 5)
        with pytest.raises(UnusableImageError, match="no such file"):
            held.read("b.png")
