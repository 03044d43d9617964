"""Batch files and archives that are damaged, or meant to do harm."""

import gzip
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cifar10_copies import as_binary, batch, lay_out, load
from kilnet.data.cifar10_files import BINARY, PYTHON, decode_binary, decode_pickle
from kilnet.errors import DataError


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A made-up CIFAR-10 in every form."""
    return lay_out(tmp_path_factory.mktemp("copies"))


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
