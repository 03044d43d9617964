"""Made-up batches of CIFAR-10."""

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np

from kilnet.config import DataConfig
from kilnet.data.cifar10_files import BINARY, PYTHON
from kilnet.data.sources import load_dataset


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


def lay_out(root: Path) -> Path:
    """Write a made-up CIFAR-10 in every form below a folder, and return that."""
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
