import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from kilnet.errors import StorageError
from kilnet.storage import cache_folder, remove_leftovers, write_bytes, write_json, write_text


def test_content_arrives_whole_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "file"
    write_text(path, "schön\n")
    assert path.read_bytes() == "schön\n".encode()
    write_bytes(path, b"")
    assert path.read_bytes() == b""
    write_json(path, {"ü": [1, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ü": [1, None]}
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_failing_write_keeps_the_old_file_and_leaves_nothing(failing, error, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_bytes(path, b"new")
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert str(caught.value) == (
            f"cannot write {path}: No space left on device; make room and run the same command again"
        )
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    # The limit makes the system refuse real writes, as a full disk does.
    code = (
        "import sys\nfrom pathlib import Path\nfrom kilnet.errors import StorageError\n"
        "from kilnet.storage import write_bytes\n"
        "try:\n    write_bytes(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except StorageError as error:\n    print(error)\n"
    )

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        [sys.executable, "-c", code, path], preexec_fn=limit, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"cannot write {path}: ")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_folder_that_is_gone_or_a_file_is_an_error_of_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "gone" / "x", tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        with pytest.raises(StorageError) as caught:
            write_bytes(path, b"x")
        assert str(caught.value).startswith(f"cannot write {path}: ")
        assert len(str(caught.value).splitlines()) == 1


def test_read_only_folder_is_an_error(tmp_path, bound_by_permissions):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            write_bytes(tmp_path / "file", b"x")
    finally:
        tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_writing_in_threads_leaves_the_umask_alone(tmp_path):
    before = os.umask(0o027)
    try:
        threads = [
            threading.Thread(target=lambda n=n: [write_bytes(tmp_path / f"{n}", b"x") for _ in range(50)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        after = os.umask(before)
    assert after == 0o027
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_readers_never_see_a_part(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([n]) * 200_000 for n in range(2)]
    write_bytes(path, contents[0])
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(100):
        write_bytes(path, contents[round_ % 2])
    done.set()
    reader.join()
    assert seen <= set(contents)
    assert seen


def test_writers_at_the_same_time_do_not_mix(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([n]) * 50_000 for n in range(4)]
    threads = [
        threading.Thread(target=lambda c=c: [write_bytes(path, c) for _ in range(10)]) for c in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom kilnet.storage import write_bytes\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "write_bytes(Path(sys.argv[1]), b'new')\n"
    )
    path = tmp_path / "file"
    path.write_bytes(b"old")
    keep = {"file", ".hidden", "notes.tmp"}
    for name in keep - {"file"}:
        (tmp_path / name).touch()
    subprocess.run([sys.executable, "-c", code, path], check=False)
    assert len(list(tmp_path.iterdir())) == 4, "the killed process left its temporary file"
    remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == keep
    assert path.read_bytes() == b"old"


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("KILNET_CACHE", "")
    assert cache_folder().name == "kilnet"
