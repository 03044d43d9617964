import dataclasses
import hashlib
import os
import shutil

import numpy as np
import pytest

from cifar10_copies import lay_out, load
from kilnet.config import DataConfig
from kilnet.data import cifar10
from kilnet.data.cifar10_files import BINARY
from kilnet.data.sources import load_dataset
from kilnet.errors import DataError, DownloadError


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A made-up CIFAR-10 in every form."""
    return lay_out(tmp_path_factory.mktemp("copies"))


def check_made_up(dataset):
    """Compare every image with the batch it was made from."""
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (45_000, 5_000, 10_000)
    assert set(np.bincount(dataset.validation.labels)) == {500}
    assert dataset.classes[0] == "airplane"
    for split in (dataset.train, dataset.validation, dataset.test):
        kind, rows = split.names[0].split("/")[0], np.array([int(name.split("/")[1]) for name in split.names])
        numbers, rows = (rows // 10_000 if kind == "train" else np.full(len(rows), 5)), rows % 10_000
        expected = np.stack([numbers, rows // 256, rows % 256], axis=1)
        flat = split.images.reshape(len(rows), 1024, 3)
        assert (flat[:, 0] == expected).all()
        assert (flat[::50] == expected[::50, None]).all()
        np.testing.assert_array_equal(split.labels, (rows + numbers) % 10)


@pytest.mark.parametrize("where", ["bin/cifar-10-batches-bin", "archives/cifar-10-python.tar.gz"])
def test_every_form_of_a_copy_gives_the_same_images(copies, where):
    dataset = load(copies / where)
    check_made_up(dataset)
    if where.startswith("bin"):
        assert dataset.warnings == ()
    else:
        (warning,) = dataset.warnings
        assert "tar.gz is not the official one" in warning


def test_python_batches_are_found_through_the_environment_and_their_checksums_compared(copies, monkeypatch):
    monkeypatch.setenv("KILNET_DATA", str(copies / "py"))
    dataset = load_dataset(DataConfig())
    check_made_up(dataset)
    (warning,) = dataset.warnings
    assert "checksum of data_batch_1, data_batch_2" in warning


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("bin", "bin/cifar-10-batches-bin"),
        ("py", "py/cifar-10-batches-py"),
        ("archives", "archives/cifar-10-binary.tar.gz"),
        (".", "archives/cifar-10-binary.tar.gz"),  # the first sub-folder that holds one
    ],
)
def test_copy_is_found_below_a_parent(copies, where, found):
    path, _ = cifar10._find(copies / where)
    assert path == copies / found


def test_other_image_size(copies):
    dataset = load(copies / "bin", image_size=8, num_train=10)
    assert dataset.image_shape == (3, 8, 8)
    assert (len(dataset.train), len(dataset.test)) == (10, 10_000)


def test_real_images(cifar10_folder):
    dataset = load(cifar10_folder)
    assert dataset.classes[3] == "cat"
    assert set(np.bincount(dataset.train.labels)) == {4500}
    # published channel means of the 50,000 training images: 0.4914, 0.4822, 0.4465
    whole = np.concatenate([dataset.train.images, dataset.validation.images])
    np.testing.assert_allclose(whole.mean(axis=(0, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)
    first = dict(zip(dataset.test.names, dataset.test.labels, strict=True))
    assert [dataset.classes[first[f"test/{i:05}"]] for i in range(4)] == ["cat", "ship", "ship", "airplane"]


def test_no_copy_where_the_user_points(tmp_path):
    with pytest.raises(DataError, match="holds no CIFAR-10; expected cifar-10-batches-bin/"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"No such file or directory; point `data.dir` at a copy"):
        load(tmp_path / "gone")


def test_without_a_copy_the_checked_archive_of_the_cache_is_used(copies, own_cache, monkeypatch):
    archive = copies / "archives" / BINARY.archive
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(cifar10, "BINARY", dataclasses.replace(BINARY, archive_md5=md5))
    monkeypatch.setattr(cifar10, "MIRRORS", ("http://127.0.0.1:1/cifar-10-binary.tar.gz",))
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(
        DownloadError, match=r"could not fetch cifar-10-binary\.tar\.gz: 127\.0\.0\.1: connection"
    ):
        load_dataset(DataConfig())
    shutil.copy(archive, own_cache / "cifar10" / BINARY.archive)
    dataset = load_dataset(DataConfig())
    check_made_up(dataset)
    assert dataset.warnings == ()

    # It is unpacked once, and again where that copy is damaged, cut, a pipe, or of another archive.
    (own_cache / "cifar10" / BINARY.archive).unlink()
    assert load_dataset(DataConfig()).fingerprint == dataset.fingerprint
    unpacked = own_cache / "cifar10" / cifar10._UNPACKED
    content = unpacked.read_bytes()

    def is_refused():
        with pytest.raises(DownloadError):
            load_dataset(DataConfig())
        return True

    with unpacked.open("r+b") as file:
        file.seek(100_000_000)
        file.write(b"\xff")
    assert is_refused()
    os.truncate(unpacked, 1_000_000)
    assert is_refused()
    unpacked.unlink()
    os.mkfifo(unpacked)
    assert is_refused()
    unpacked.unlink()
    unpacked.write_bytes(content)
    with monkeypatch.context() as changed:
        changed.setattr(cifar10, "BINARY", dataclasses.replace(BINARY, archive_md5="0" * 32))
        assert is_refused()
    check_made_up(load_dataset(DataConfig()))


def test_every_mirror_is_https():
    assert all(url.startswith("https://") and url.endswith(BINARY.archive) for url in cifar10.MIRRORS)
