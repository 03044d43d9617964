"""Runs are deleted whole, and only where nobody writes them."""

import pytest

from kilnet.errors import BusyError, InputError
from kilnet.runs.deletion import delete, is_written
from kilnet.runs.listing import ListedRun, found_below
from kilnet.storage import held
from listed_runs import make_run


def only(folder):
    (run,) = found_below(folder)
    return run


def test_a_run_is_deleted_with_all_in_it_but_not_what_a_link_in_it_names(tmp_path):
    make_run(tmp_path / "runs" / "a")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "runs" / "a" / "plots").symlink_to(tmp_path / "kept")
    delete(only(tmp_path / "runs"), [tmp_path / "runs"])
    assert list((tmp_path / "runs").iterdir()) == []
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.parametrize("part", [".", "folds/1-of-2"])
def test_a_run_that_is_written_stays(tmp_path, part):
    make_run(tmp_path / "a")
    (tmp_path / "a" / part).mkdir(parents=True, exist_ok=True)
    assert not is_written(tmp_path / "a")
    with held(tmp_path / "a" / part, "writing this run"):
        assert is_written(tmp_path / "a" / part)
        with pytest.raises(BusyError, match="a process is writing it; end that first"):
            delete(only(tmp_path), [tmp_path])
        assert is_written(tmp_path / "a" / part), "looking does not let it go"
    assert not is_written(tmp_path / "a" / part)
    delete(only(tmp_path), [tmp_path])
    assert found_below(tmp_path) == ()


def test_the_folder_that_was_listed_links_and_what_lies_elsewhere_stay(tmp_path):
    make_run(tmp_path / "elsewhere" / "a")
    make_run(tmp_path / "runs" / "b")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    for path, place in (
        (tmp_path / "runs" / "b", tmp_path / "runs" / "b"),
        (tmp_path / "elsewhere" / "a", tmp_path / "runs"),
        (tmp_path / "runs" / "link" / "a", tmp_path / "runs"),
        (tmp_path / "runs" / "link", tmp_path / "runs"),
        (tmp_path / "runs" / ".." / "elsewhere" / "a", tmp_path / "runs"),
        (tmp_path / "runs" / "gone", tmp_path / "runs"),
    ):
        with pytest.raises(InputError, match="not a run below"):
            delete(ListedRun(path=path, kind="run", values={}), [place])
    assert (tmp_path / "elsewhere" / "a" / "config.toml").exists()
    assert (tmp_path / "runs" / "b" / "config.toml").exists()
