import ast
import csv
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kilnet import storage
from kilnet.errors import InputError, RunFolderError, StorageError
from kilnet.storage import (
    cache_folder,
    escaped,
    from_cell,
    given_path,
    remove_leftovers,
    unescaped,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)


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


def test_no_cell_is_a_formula_and_every_text_can_be_read_back(tmp_path):
    texts = [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-x",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1",
        "'=1",
        "''@",
        "-1e5",
        "+.5",
    ]
    texts += ["cat", "it's", "'cat'", "a=b", "", " "]
    write_csv(tmp_path / "x.csv", texts, [[-1, -0.5, None, True, *texts]])
    with (tmp_path / "x.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert row[:4] == ["-1", "-0.5", "", "True"]
    assert header == row[4:]
    assert [from_cell(cell) for cell in header] == texts
    for text, cell in zip(texts, header, strict=True):
        begins = cell.lstrip("'")[:1]
        assert cell == text or (cell[0] == "'" and begins in set("=+-@\t\r\n＝")), cell
        assert cell[:1] not in set("=@\t\r\n＝"), cell
    assert header[-8:] == texts[-8:], "numbers and other texts are as they were"


def test_a_tilde_is_the_home_folder_in_every_path_that_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert given_path("~/x") == given_path(Path("~/x")) == tmp_path / "x"
    monkeypatch.setenv("KILNET_CACHE", "~/cache")
    assert cache_folder() == tmp_path / "cache"
    for path in ("./~", "x/~", "~nobody_of_this_name/x", "x~"):
        assert given_path(path) == Path(path)


@pytest.mark.parametrize("path", ["x" * 300, "x/" * 3000, "a\0b"])
def test_what_is_no_name_of_a_file_is_refused_in_one_line(path):
    with pytest.raises(InputError, match="no name of a file: "):
        given_path(path)


# Folders that were found, and names of data sets and recipes.
KNOWN_PATHS = {"class_folders: folder", "class_folders: name", "sources: name", "built_in: name"}


def test_every_path_that_is_given_goes_through_one_function():
    """Run folders, outputs, data, recipes: what is a parameter of a public function, a setting or a variable."""
    package = Path(storage.__file__).parent
    files = [path for room in ("verbs", "data", "recipes") for path in package.glob(f"{room}/*.py")]
    found = set()
    for path in [*files, package / "runs" / "run.py", package / "doctor.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Path":
                constant = isinstance(node.args[0], ast.Constant) or ast.unparse(node.args[0]) == "__file__"
                found |= set() if constant else {f"{path.stem}: {ast.unparse(node.args[0])}"}
            assert getattr(node, "attr", "") != "expanduser", path
    assert found == KNOWN_PATHS


def test_without_a_home_the_cache_goes_with_the_process(tmp_path):
    code = (
        "from kilnet import storage\nstorage.remember('x.json', 'key', 1)\n"
        "print(storage.lasting_cache_folder(), storage.recall('x.json', 'key'), storage.cache_folder())\n"
    )
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    homeless = f"import pwd\ndef getpwuid(uid): raise KeyError(uid)\npwd.getpwuid = getpwuid\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", homeless],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    lasting, kept, folder = done.stdout.split()
    assert (lasting, kept) == ("None", "1")
    assert Path(folder).parent == tmp_path
    assert list(tmp_path.iterdir()) == [], "nothing is left, and no folder called ~"


@pytest.mark.parametrize(
    "name",
    [
        "b\udce4ume",
        r"\udce4",
        "\\\udce4\\",
        r"C:\users\udo",
        r"\\ud",
        "\\",
        r"\n",
        'a,\n\r"b',
        "é",
        "\ud800",
        "",
    ],
)
def test_any_name_comes_back_from_a_table_that_is_text(tmp_path, name):
    write_csv(tmp_path / "table.csv", ["name", "number"], [[name, 1], ["plain", 2]])
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        head, first, second = csv.reader(file)
    assert (head, first[1], second) == (["name", "number"], "1", ["plain", "2"])
    assert unescaped(first[0]) == name


def test_plain_names_stand_in_a_table_as_they_are():
    for name in ("cat", "C:\\data\\cat", "é", "a\nb", r"\n"):
        assert escaped(name) == name
    assert escaped("b\udce4ume") == r"b\udce4ume"


def in_place_of(path, what, elsewhere):
    """Put something that is no regular file at a path."""
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(elsewhere)


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_file_is_refused_at_once(tmp_path, what):
    in_place_of(tmp_path / "x.json", what, None)
    with pytest.raises(RunFolderError) as caught, storage.reading(tmp_path / "x.json", "delete it"):
        storage.read_json(tmp_path / "x.json")
    assert str(caught.value).startswith(f"{tmp_path / 'x.json'}: damaged (a ")
    assert str(caught.value).endswith(", not a file); delete it")


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, "[]", "{", "", "\0", "1e5"])
def test_json_that_is_no_object_is_one_line(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with (
        pytest.raises(RunFolderError, match=r"x\.json: damaged \(.*\); delete it"),
        storage.reading(tmp_path / "x.json", "delete it"),
    ):
        storage.read_json(tmp_path / "x.json")


def test_json_that_is_sealed_tells_that_it_has_changed(tmp_path):
    content = {
        "classes": ("ü", "\udcff"),
        "loss": 0.1 + 0.2,
        "none": None,
        "many": [1e22, -0.0, float("inf")],
    }
    write_json(tmp_path / "x.json", storage.sealed(content))
    read = storage.read_json(tmp_path / "x.json")
    assert storage.unsealed(read) == {**content, "classes": ["ü", "\udcff"]}
    assert list(read)[-1] == "checksum"
    with pytest.raises(ValueError, match="checksum is wrong"):
        storage.unsealed({**read, "loss": 0.3})
    del read["checksum"]
    assert storage.unsealed(read) == read, "as earlier versions wrote it"


@pytest.mark.parametrize("what", ["folder", "link", "link to nothing"])
def test_a_lock_that_is_no_file_is_one_line_and_its_target_is_left(tmp_path, what):
    (tmp_path / "precious").write_text("precious")
    elsewhere = tmp_path / ("nothing" if "nothing" in what else "precious")
    (tmp_path / "run").mkdir()
    in_place_of(tmp_path / "run" / ".lock", what, elsewhere)
    with pytest.raises(RunFolderError) as caught, storage.held(tmp_path / "run", "writing this run"):
        pass
    assert str(tmp_path / "run") in str(caught.value)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_leftovers_below_a_folder_are_removed_but_not_behind_links_or_in_runs_that_are_held(tmp_path):
    leftover, elsewhere = f".x.{'0' * 16}.tmp", tmp_path / "elsewhere"
    for name in ("run/plots", "run/exports/onnx", "run/folds/1-of-2/state", "run/held/state", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / leftover).touch()
    (tmp_path / "run" / "link").symlink_to(elsewhere)
    (tmp_path / "run" / f".y.{'0' * 16}.tmp").mkdir()
    with storage.held(tmp_path / "run" / "held", "training"):
        (tmp_path / "run" / "held" / leftover).touch()
        with storage.held(tmp_path / "run", "writing this run"):
            left = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob(leftover)}
    assert left == {"run/held", "elsewhere"}
    assert (elsewhere / leftover).exists()


@pytest.mark.parametrize("text", ["", "a,b\n1\n", "a,b\n1,2,3\n", 'a\n"'])
def test_a_table_whose_rows_do_not_fit_its_header_is_refused(text):
    with pytest.raises((ValueError, csv.Error)):
        storage.parse_csv(text)
