"""Pictures in a .zip or .tar, read where they lie: nothing in it is written under a name of its own."""

import gzip
import re
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from kilnet.data.litter import is_litter
from kilnet.errors import DataError, UnusableImageError
from kilnet.storage import open_file

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBER_BYTES = 1 << 30
"""Of one file in an archive; pictures have a lower limit of their own."""
MAX_UNPACKED = 100
"""How many times its own size a compressed archive may unpack to; pictures hardly shrink, tables by ten times."""
_SMALL = 100_000_000  # bytes that any archive may unpack to
_CHUNK = 1 << 20
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
_DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    NotImplementedError,
    RuntimeError,
)


def found_at(place: "Path | Member", max_bytes: int) -> Path | bytes:
    """Return a path on the disk as it is, and of a file in an archive its content; see `Archive.read`."""
    return place if isinstance(place, Path) else place.archive.read(place.path, max_bytes)


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive that `opened` reads."""
    return path.name.lower().endswith(ENDINGS)


@dataclass(frozen=True, eq=False)
class Archive:
    """The files in an archive.

    Attributes:
        path: of the archive.
        sizes: of each file in bytes, by its path in the archive.
        folders: the names in each folder, by its path; "" is the archive itself.
        load: returns at most so many bytes of a file; raises what the archive's reader does.
    """

    path: Path
    sizes: dict[str, int]
    folders: dict[str, set[str]]
    load: Callable[[str, int], bytes] = field(repr=False)

    def read(self, path: str, max_bytes: int = MAX_MEMBER_BYTES) -> bytes:
        """Return the content of a file.

        Raises:
            UnusableImageError: it is not there, larger than that, encrypted or damaged; the reason, without its path.
        """
        if path not in self.sizes:
            raise UnusableImageError("cannot be read: no such file in the archive")
        size = self.sizes[path]
        if size > max_bytes:
            raise UnusableImageError(f"{size:,} bytes, above the limit of {max_bytes:,}")
        try:
            content = self.load(path, size + 1)
        except _DAMAGE as error:
            raise UnusableImageError(f"cannot be read: {_reason(error)}") from None
        if len(content) != size:
            raise UnusableImageError(f"cannot be read: it should have {size:,} bytes")
        return content

    @property
    def top(self) -> "Member":
        """The folder with the files: the one that holds all others, as most archives have it, or the archive."""
        top = Member(self, "")
        while True:
            children = [child for child in top.iterdir() if not is_litter(child.name)]
            if len(children) != 1 or not children[0].is_dir():
                return top
            if not any(child.is_dir() or is_table_name(child.name) for child in children[0].iterdir()):
                return top  # the folder of a class
            top = children[0]


def is_table_name(name: str) -> bool:
    """Whether a file of this name is a table of labels."""
    return name.lower().endswith((".csv", ".tsv", ".parquet"))


@dataclass(frozen=True, order=True)
class Member:
    """A file or folder in an archive, as far as it is used like a `Path`."""

    archive: Archive = field(compare=False, repr=False)
    path: str

    def __str__(self) -> str:
        return f"{self.archive.path}/{self.path}" if self.path else str(self.archive.path)

    def __fspath__(self) -> str:
        return str(self)

    def __truediv__(self, name: str) -> "Member":
        return Member(self.archive, f"{self.path}/{name}" if self.path else name)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    def iterdir(self) -> Iterator["Member"]:
        """Yield what is in a folder."""
        for name in self.archive.folders.get(self.path, ()):
            yield self / name

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.path in self.archive.folders

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.path in self.archive.sizes

    def is_symlink(self) -> bool:
        """Say that it is no link: archives with links are refused."""
        return False

    def relative_to(self, folder: "Member") -> PurePosixPath:
        """Return its path below a folder."""
        return PurePosixPath(self.path).relative_to(folder.path)


Place = TypeVar("Place", Path, Member)
"""A folder or a file, on the disk or in an archive."""


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive, and close it at the end.

    Raises:
        DataError: it cannot be read; a name in it is absolute or leads out of it; it holds links; it would unpack to
            far more than it has.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_file(path))
            entries, load = (_zip if path.name.lower().endswith(".zip") else _tar)(path, file, stack)
        except _DAMAGE as error:
            raise DataError(f"{path}: no archive that can be read: {_reason(error)}") from None
        sizes: dict[str, int] = {}
        folders: dict[str, set[str]] = {"": set()}
        for name, size in entries:
            parts = _parts(path, name)
            if size is not None:
                sizes["/".join(parts)] = size
            for depth in range(len(parts)):
                folders.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
            if size is None:
                folders.setdefault("/".join(parts), set())
        for name in folders.keys() & sizes.keys():
            raise DataError(f"{path}: {name} is both a file and a folder in it")
        yield Archive(path, sizes, folders, load)


def _parts(path: Path, name: str) -> list[str]:
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if _ABSOLUTE.match(plain) or ".." in parts or "\0" in plain:
        raise DataError(
            f"{path}: refused: {name} in it leads out of the archive; pack it again with plain paths"
        )
    return parts


_Entries = list[tuple[str, int | None]]  # names and sizes; a folder has none
_Load = Callable[[str, int], bytes]


def _zip(path: Path, file: BinaryIO, stack: ExitStack) -> tuple[_Entries, _Load]:
    archive = stack.enter_context(zipfile.ZipFile(file))
    entries: _Entries = []
    infos: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if stat.S_ISLNK(info.external_attr >> 16):
            raise _link(path, info.filename)
        entries.append((info.filename, None if info.is_dir() else info.file_size))
        infos["/".join(_parts(path, info.filename))] = info
    _refuse_bomb(path, sum(size or 0 for _, size in entries))

    def load(name: str, num_bytes: int) -> bytes:
        with archive.open(infos[name]) as member:
            return member.read(num_bytes)

    return entries, load


def _tar(path: Path, file: BinaryIO, stack: ExitStack) -> tuple[_Entries, _Load]:
    if not path.name.lower().endswith(".tar"):
        file = _decompressed(path, file, stack)
    archive = stack.enter_context(tarfile.open(fileobj=file, mode="r:"))  # noqa: SIM115 the stack closes it
    entries: _Entries = []
    starts: dict[str, int] = {}
    for info in archive:
        if info.issym() or info.islnk():
            raise _link(path, info.name)
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise DataError(f"{path}: refused: {info.name} in it is neither a file nor a folder")
        entries.append((info.name, None if info.isdir() else info.size))
        starts["/".join(_parts(path, info.name))] = info.offset_data
    lock = threading.Lock()

    def load(name: str, num_bytes: int) -> bytes:
        with lock:  # threads share one place in the file
            file.seek(starts[name])
            return file.read(num_bytes - 1)

    return entries, load


def _decompressed(path: Path, file: BinaryIO, stack: ExitStack) -> BinaryIO:
    """Return a file without a name that holds the tar: compressed, every read would begin at its start."""
    whole = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 the stack closes it
    with gzip.GzipFile(fileobj=file) as reader:
        while chunk := reader.read(_CHUNK):
            whole.write(chunk)
            _refuse_bomb(path, whole.tell())
    whole.seek(0)
    return whole


def _refuse_bomb(path: Path, num_bytes: int) -> None:
    if num_bytes > max(_SMALL, MAX_UNPACKED * path.stat().st_size):
        raise DataError(
            f"{path}: refused: it would unpack to more than {MAX_UNPACKED} times its size; unpack it yourself and give "
            "the folder"
        )


def _link(path: Path, name: str) -> DataError:
    return DataError(f"{path}: refused: {name} in it is a link; pack the files themselves")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
