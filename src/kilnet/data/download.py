"""One file from the first mirror that delivers it: resumed, checked, and absent until it is whole."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import filelock
import pooch
import requests
import urllib3

from kilnet.data.dataset import Progress, silent
from kilnet.errors import DownloadError, StorageError
from kilnet.storage import remove

TIMEOUT_SECONDS = (10, 30)  # to connect, and between two packets
MAX_REDIRECTS = 5
CHUNK_BYTES = 1 << 16  # the most that is lost when a connection breaks
LOOPBACK = ("127.0.0.1", "::1", "localhost")  # plain http is for a server on this machine alone


def fetch(
    mirrors: Sequence[str], target: Path, md5: str, num_bytes: int, progress: Progress = silent
) -> Path:
    """Return `target`, fetched from the first mirror that delivers the right file.

    What has arrived is kept as `<name>.part` when the connection breaks or the process is killed, and the
    next call asks for the rest only. The file takes its name after its length and MD5 have been checked.
    Several processes may call this at once: one fetches, the others wait.

    Args:
        mirrors: https addresses of the same file.
        md5, num_bytes: of the right file.

    Raises:
        DownloadError: every mirror failed; the message says what happened at each.
        StorageError: the cache folder cannot be written.
    """
    try:
        if _is_right(target, md5):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target.with_name(f"{target.name}.lock")):
            return target if _is_right(target, md5) else _fetch(mirrors, target, md5, num_bytes, progress)
    except OSError as error:
        raise StorageError(
            f"cannot write {target}: {error.strerror or error}; set KILNET_CACHE to another folder"
        ) from error


def _fetch(mirrors: Sequence[str], target: Path, md5: str, num_bytes: int, progress: Progress) -> Path:
    pooch.get_logger().setLevel(logging.WARNING)  # `progress` reports what it does
    download = _Download(target.with_name(f"{target.name}.part"), num_bytes, progress)
    failures = []
    for url in mirrors:
        try:
            pooch.retrieve(url, f"md5:{md5}", fname=target.name, path=target.parent, downloader=download)
            return target
        except _MirrorError as error:
            reason = str(error)
        except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
            reason = f"{_reason(error)}{download.kept}"
        except ValueError:  # how pooch reports a wrong hash; it has removed the file
            reason = "wrong content (MD5 differs), deleted"
        failures.append(f"{urlsplit(url).hostname}: {reason}")
    raise DownloadError(
        f"could not fetch {target.name}: {'; '.join(failures)}; try again; or point `data.dir` at a copy"
    )


class _MirrorError(Exception):
    """This mirror cannot deliver the file."""


class _Download:
    """A downloader for pooch that resumes where the last one broke off."""

    def __init__(self, part: Path, num_bytes: int, progress: Progress) -> None:
        self._part = part
        self._num_bytes = num_bytes
        self._progress = progress

    @property
    def kept(self) -> str:
        return f" after {self._size} of {self._num_bytes} bytes, kept" if self._size else ""

    @property
    def _size(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def __call__(self, url: str, output_file: str, pooch: object) -> None:  # noqa: ARG002
        if self._size < self._num_bytes:
            self._receive(url)
        os.replace(self._part, output_file)  # noqa: PTH105

    def _receive(self, url: str) -> None:
        start = self._size
        with requests.Session() as session, _open(session, url, start) as response:
            resumed = response.status_code == requests.codes.partial_content
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise _MirrorError("answered with another part of the file than asked for")
            if not resumed:
                start = 0
            length = response.headers.get("Content-Length")
            if length is None:
                raise _MirrorError("does not say how long the file is")
            if start + int(length) != self._num_bytes:
                raise _MirrorError(f"offers {start + int(length)} bytes instead of {self._num_bytes}")
            if self._part.is_fifo():  # it would block
                remove(self._part)
            with self._part.open("ab" if resumed else "wb") as file:
                # Raw, because some servers declare a .tar.gz as compressed and requests would unpack it.
                for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                    start += file.write(chunk)
                    self._progress("download", start, self._num_bytes)
        if start < self._num_bytes:
            raise _MirrorError(f"connection ended{self.kept}")


def _open(session: requests.Session, url: str, start: int) -> requests.Response:
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    for _ in range(MAX_REDIRECTS):
        address = urlsplit(url)
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK):
            raise _MirrorError(f"leads to {address.scheme}://{address.hostname}, which is not https; refused")
        response = session.get(
            url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )
        if not response.is_redirect:
            break
        response.close()
        url = urljoin(url, response.headers["Location"])
    if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
        response.close()
        raise _MirrorError(f"HTTP {response.status_code} {response.reason}")
    return response


def _is_right(target: Path, md5: str) -> bool:
    return target.is_file() and pooch.file_hash(str(target), "md5") == md5


def _reason(error: Exception) -> str:
    match error:
        case urllib3.exceptions.HTTPError():
            return "connection broke"
        case requests.exceptions.SSLError():
            return "no trustworthy https connection"
        case requests.exceptions.ProxyError():
            return "the proxy refused"
        case requests.Timeout():
            return "timed out"
        case requests.ConnectionError() if "NameResolution" in repr(error):
            return "name not found; is this machine online?"
        case _:
            return "connection failed"
