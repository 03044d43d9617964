import dataclasses
import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from kilnet.config import DataConfig
from kilnet.data import cifar10
from kilnet.data.cifar10_files import BINARY, PYTHON, decode_binary, decode_pickle
from kilnet.data.sources import load_dataset
from kilnet.errors import DataError, DownloadError


def batch(number: int) -> tuple[np.ndarray, list[int]]:
    """10,000 different images: each pixel tells batch and row."""
    rows = np.arange(10_000)
    pixels = np.empty((10_000, 3072), np.uint8)
    pixels[:, 0::3], pixels[:, 1::3], pixels[:, 2::3] = number, (rows // 256)[:, None], (rows % 256)[:, None]
    return pixels, [(row + number) % 10 for row in rows.tolist()]


def as_binary(number: int) -> bytes:
    pixels, labels = batch(number)
    return np.column_stack([np.array(labels, np.uint8), pixels]).tobytes()


def as_pickle(number: int) -> bytes:
    """A batch as Python 2 pickled it: byte strings, and numpy's names of that time."""
    pixels, labels = batch(number)
    raw = pixels.tobytes()
    return b"".join(
        (
            b"\x80\x02}(U\x04data",
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR",
            b"(K\x01(M\x10'M\x00\x0ctcnumpy\ndtype\n(U\x02u1K\x00K\x01tR",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T" + struct.pack("<i", len(raw)) + raw + b"tb",
            b"U\x06labels](" + b"".join(b"K" + bytes([label]) for label in labels) + b"eu.",
        )
    )


def pack(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A made-up CIFAR-10 in every form."""
    root = tmp_path_factory.mktemp("copies")
    for layout, make in ((BINARY, as_binary), (PYTHON, as_pickle)):
        files = {name: make(number) for number, name in enumerate(layout.members)}
        parent = root / layout.folder.removeprefix("cifar-10-batches-")
        (parent / layout.folder).mkdir(parents=True)
        for name, content in files.items():
            (parent / layout.folder / name).write_bytes(content)
        (root / "archives").mkdir(exist_ok=True)
        pack(root / "archives" / layout.archive, layout.folder, files)
    return root


def load(copy: Path, **settings: object):
    return load_dataset(DataConfig(dir=str(copy), **settings))


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


def linked(copies: Path, folder: Path, layout=BINARY) -> Path:
    """A copy whose files can be replaced one by one."""
    copy = folder / layout.folder
    copy.mkdir()
    for name in layout.members:
        (copy / name).symlink_to(
            copies / layout.folder.removeprefix("cifar-10-batches-") / layout.folder / name
        )
    return copy


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def test_truncated_missing_and_mislabelled_batches_are_named(copies, tmp_path):
    copy = linked(copies, tmp_path)
    replace(copy / "data_batch_2.bin", as_binary(1)[:-1])
    with pytest.raises(DataError, match=r"data_batch_2\.bin: 30729999 bytes instead of 30730000"):
        load(tmp_path)
    (copy / "data_batch_1.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_1\.bin: cannot be read: No such file"):
        load(copy)
    content = bytearray(as_binary(0))
    content[3073 * 7] = 10
    (copy / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_1\.bin: image 7 has label 10, not 0 to 9"):
        load(copy)


def test_no_copy_where_the_user_points(tmp_path):
    with pytest.raises(DataError, match="holds no CIFAR-10; expected cifar-10-batches-bin/"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"No such file or directory; point `data.dir` at a copy"):
        load(tmp_path / "gone")


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_malicious_pickle_runs_nothing(copies, tmp_path, protocol):
    copy = linked(copies, tmp_path, PYTHON)
    marker = tmp_path / "pwned"
    replace(copy / "data_batch_1", pickle.dumps({b"data": Malicious(marker)}, protocol))
    with pytest.raises(DataError, match=r"data_batch_1: asks for [\w.]+, .* nothing was run"):
        load(copy)
    assert not marker.exists()
    pickle.loads((copy / "data_batch_1").read_bytes())  # the trap itself works
    assert marker.exists()


@pytest.mark.parametrize(
    "evil",
    [
        b"cnumpy\nload\n(U\x04fileo.",
        b"cnumpy\nf2py.os.system\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"cbuiltins\neval\n(U\x011tR.",
    ],
)
def test_only_the_three_names_of_an_array_are_known(evil):
    with pytest.raises(DataError, match="asks for"):
        decode_pickle(evil, "batch")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable batch"),
        (b"\x80\x02}(U\x04data", "not a readable batch"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps({b"data": b"x", b"labels": [1]}), "not a CIFAR-10 batch; it needs data"),
        (
            pickle.dumps({b"data": np.zeros((10_000, 3072), np.float16), b"labels": [0] * 10_000}, 4),
            "it needs data",
        ),
        (
            pickle.dumps({b"data": np.zeros((10_000, 3072), np.uint8), b"labels": [10] * 10_000}, 4),
            "from 0 to 9",
        ),
        (
            pickle.dumps({b"data": np.zeros((10_000, 3072), np.uint8), b"labels": ["0"] * 10_000}, 4),
            "from 0 to 9",
        ),
    ],
)
def test_pickles_of_other_things_are_refused(content, message):
    with pytest.raises(DataError, match=f"batch: .*{message}") as caught:
        decode_pickle(content, "batch")
    assert "\n" not in str(caught.value)


def test_pickles_written_by_the_present_numpy_are_read():
    pixels, labels = batch(3)
    images, numbers = decode_pickle(pickle.dumps({b"data": pixels, b"labels": labels}, 4), "batch")
    expected, _ = decode_binary(as_binary(3), "batch")
    np.testing.assert_array_equal(images, expected)
    assert numbers.tolist() == labels


def test_truncated_and_altered_archives_are_refused(copies, tmp_path):
    archive = tmp_path / BINARY.archive
    content = bytearray((copies / "archives" / BINARY.archive).read_bytes())
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"cifar-10-binary\.tar\.gz: damaged.*\({len(content) // 2} bytes\)"):
        load(archive)
    content[-6] ^= 1  # gzip's own checksum
    archive.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        load(archive)
    archive.write_text("no archive")
    with pytest.raises(DataError, match=r"damaged or not a tar\.gz archive"):
        load(archive)


def special(kind: bytes, name: str, size: int = 0, linkname: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, linkname
    return member


FIRST = "cifar-10-batches-bin/data_batch_1.bin"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (special(tarfile.SYMTYPE, FIRST, linkname="/etc/passwd"), "a link or a device"),
        (special(tarfile.LNKTYPE, FIRST, linkname="/etc/passwd"), "a link or a device"),
        (special(tarfile.CHRTYPE, FIRST), "a link or a device"),
        (special(tarfile.REGTYPE, FIRST, size=40_000_000), "40000000 bytes instead of 30730000"),
        (special(tarfile.REGTYPE, FIRST, size=1000), "1000 bytes instead of 30730000"),
        (special(tarfile.REGTYPE, f"../{FIRST}", size=30_730_000), r"lacks data_batch_1\.bin"),
        (special(tarfile.REGTYPE, f"/{FIRST}", size=30_730_000), r"lacks data_batch_1\.bin"),
        (special(tarfile.REGTYPE, "cifar-10-batches-bin/zeros", size=300_000_000), "unpacks to far more"),
    ],
)
def test_malicious_members_are_refused(tmp_path, member, message):
    archive = tmp_path / BINARY.archive
    with gzip.open(archive, "wb", compresslevel=1) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(DataError, match=message) as caught:
        load(archive)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [BINARY.archive]


def test_batch_given_twice_is_refused(tmp_path):
    archive = tmp_path / BINARY.archive
    content = as_binary(0)
    with gzip.open(archive, "wb", compresslevel=1) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for _ in range(2):
            tar.addfile(special(tarfile.REGTYPE, FIRST, size=len(content)), io.BytesIO(content))
    with pytest.raises(DataError, match="in the archive twice"):
        load(archive)


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


def test_every_mirror_is_https():
    assert all(url.startswith("https://") and url.endswith(BINARY.archive) for url in cifar10.MIRRORS)
