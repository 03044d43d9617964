"""The files of CIFAR-10: binary and python batches, unpacked or in their tar archive.

Layout of both: https://www.cs.toronto.edu/~kriz/cifar.html. Nothing that a file says is executed.
"""

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.errors import DataError
from kilnet.storage import open_file, read_bytes

NUM_IMAGES = 10_000  # in each batch
SIDE = 32
SHAPE = (3, SIDE, SIDE)
NUM_PIXELS = 3 * SIDE * SIDE  # values, as three colour planes
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images (10000, 3, 32, 32) and labels (10000,)."""


@dataclass(frozen=True)
class Layout:
    """One of the two forms in which CIFAR-10 is given out.

    Attributes:
        archive, folder: their official names.
        archive_md5: of the official archive.
        suffix: of the batch files.
        max_bytes: no batch file is larger.
        decode: the content of a batch file and its path -> images and labels.
        batch_md5: of the official batch files, where known.
    """

    archive: str
    folder: str
    archive_md5: str
    suffix: str
    max_bytes: int
    decode: Callable[[bytes, str], Batch]
    batch_md5: dict[str, str]

    @property
    def members(self) -> list[str]:
        """Names of the batch files: five for training, then the test."""
        return [f"{stem}{self.suffix}" for stem in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]


def decode_binary(content: bytes, where: str) -> Batch:
    """Read a binary batch: a label byte and 3072 pixel bytes (red, green, blue planes) per image.

    Raises:
        DataError: wrong size, or a label above 9.
    """
    expected = NUM_IMAGES * (1 + NUM_PIXELS)
    if len(content) != expected:
        raise DataError(_wrong_size(where, len(content), expected))
    records = np.frombuffer(content, np.uint8).reshape(NUM_IMAGES, 1 + NUM_PIXELS)
    images, labels = records[:, 1:].reshape(-1, *SHAPE), records[:, 0].astype(np.int64)
    wrong = np.flatnonzero(labels >= len(CLASSES))
    if len(wrong):
        raise DataError(
            f"{where}: image {wrong[0]} has label {labels[wrong[0]]}, not 0 to 9; fetch the file again"
        )
    return images, labels


def decode_pickle(content: bytes, where: str) -> Batch:
    """Read a python batch: a pickled dictionary with `data`, uint8 (10000, 3072), and `labels`, a list.

    Raises:
        DataError: the pickle asks for anything but a numpy array, is broken, or holds something else.
    """
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except Exception as error:  # a broken pickle can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{where}: not a readable batch ({len(content)} bytes): {reason}; fetch the file again"
        ) from None
    if not isinstance(batch, dict):
        raise DataError(f"{where}: holds a {type(batch).__name__}, not a CIFAR-10 batch")
    data, labels = (batch.get(key.encode(), batch.get(key)) for key in ("data", "labels"))
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape != (NUM_IMAGES, NUM_PIXELS)
        or not isinstance(labels, list)
        or len(labels) != NUM_IMAGES
        or not all(type(label) is int and 0 <= label < len(CLASSES) for label in labels)
    ):
        raise DataError(
            f"{where}: not a CIFAR-10 batch; it needs data, uint8 ({NUM_IMAGES}, {NUM_PIXELS}), "
            f"and labels, {NUM_IMAGES} numbers from 0 to 9"
        )
    return data.reshape(-1, *SHAPE), np.array(labels, np.int64)


BINARY = Layout(
    archive="cifar-10-binary.tar.gz",
    folder="cifar-10-batches-bin",
    archive_md5="c32a1d4ab5d03f1284b67883e8d87530",  # given on the data set's page, as the next one
    suffix=".bin",
    max_bytes=NUM_IMAGES * (1 + NUM_PIXELS),
    decode=decode_binary,
    batch_md5={},
)
PYTHON = Layout(
    archive="cifar-10-python.tar.gz",
    folder="cifar-10-batches-py",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    suffix="",
    max_bytes=2 * NUM_IMAGES * NUM_PIXELS,
    decode=decode_pickle,
    batch_md5={  # as torchvision.datasets.CIFAR10 checks them
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)


def read_folder(folder: Path, layout: Layout, use: Callable[[str, bytes], None]) -> None:
    """Hand the name and content of each batch file in `folder` to `use`, one at a time.

    Raises:
        DataError: a file is missing, unreadable or too large.
    """
    for name in layout.members:
        path = folder / name
        try:
            content = read_bytes(path, layout.max_bytes)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read: {error.strerror or error}; copy it there again"
            ) from None
        use(name, content)


def read_archive(archive: Path, layout: Layout, use: Callable[[str, bytes], None]) -> None:
    """Hand the name and content of each batch file in a tar.gz to `use`, one at a time, as they lie in it.

    Members other than the batches are skipped.

    Raises:
        DataError: the archive is damaged, a batch is missing, given twice, too large or no regular file.
    """
    missing = set(layout.members)
    try:
        with open_file(archive) as file, gzip.open(file) as unzipped:
            limited = _LimitedReader(unzipped, 8 * layout.max_bytes)
            with tarfile.open(fileobj=limited, mode="r|") as tar:
                for member in tar:
                    folder, name = PurePosixPath(member.name).parent, PurePosixPath(member.name).name
                    if str(folder) != layout.folder or name not in layout.members:
                        continue
                    where = f"{archive}: {member.name}"
                    if name not in missing:
                        raise DataError(f"{where}: is in the archive twice")
                    if not member.isreg():
                        raise DataError(
                            f"{where}: is a link or a device, not a regular file; fetch the archive again"
                        )
                    if member.size > layout.max_bytes:
                        raise DataError(_wrong_size(where, member.size, layout.max_bytes))
                    content = tar.extractfile(member)
                    use(name, content.read() if content else b"")
                    missing.remove(name)
            while limited.read(1 << 20):  # up to the end, where gzip keeps its checksum
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        size = f" ({archive.stat().st_size} bytes)" if archive.is_file() else ""
        raise DataError(
            f"{archive}: damaged or not a tar.gz archive{size}: {error}; fetch it again"
        ) from None
    if missing:
        raise DataError(f"{archive}: lacks {', '.join(sorted(missing))}; fetch the archive again")


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the three names that the official batches use, and refuses every other before it runs."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")  # its name since numpy 2
        match module, name:
            case "numpy.core.multiarray", "_reconstruct":
                return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return np.dtype
        raise DataError(
            f"asks for {module}.{name}, which no CIFAR-10 batch needs; nothing was run, do not trust it"
        )


class _LimitedReader(io.RawIOBase):
    """Reads no more than a given number of bytes from a file, so that a small archive cannot fill the memory."""

    def __init__(self, file: gzip.GzipFile, num_bytes: int) -> None:
        self._file = file
        self._left = num_bytes

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.ReadError("it unpacks to far more than CIFAR-10")
        return content


def _wrong_size(where: str, found: int, expected: int) -> str:
    return f"{where}: {found} bytes instead of {expected}; fetch the file again"
