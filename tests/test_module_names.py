"""Each module with behaviour of its own has a file of tests of its name."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "src" / "kilnet"

# Modules without such a file, and why.
WITHOUT = {
    "cli_options": "declares options; test_cli_verbs.py gives them",
    "data_formats_parts": "a record without behaviour",
    "training_records": "two records without behaviour",
}
VERBS = {path.stem for path in (PACKAGE / "verbs").glob("*.py")} | {"doctor", "recipes"}
WITHOUT |= dict.fromkeys((f"cli_{verb}" for verb in VERBS), "parses, calls and prints; see test_cli_verbs.py")


def names(package):
    """Return `room_module` for each module but `__init__` and `__main__`; plots has its code in `__init__`."""
    paths = [path for path in package.rglob("*.py") if not path.stem.startswith("__")]
    return ["plots", *("_".join(path.relative_to(package).with_suffix("").parts) for path in sorted(paths))]


@pytest.mark.parametrize("name", [name for name in names(PACKAGE) if name not in WITHOUT])
def test_a_module_has_tests_of_its_name(name):
    path = TESTS / f"test_{name}.py"
    assert path.is_file(), f"write {path.name}, or say in WITHOUT why there is none"
    assert "def test_" in path.read_text("utf-8")


def longer(paths, num_lines):
    return {path.name for path in paths if len(path.read_text("utf-8").splitlines()) > num_lines}


def test_files_are_read_in_a_sitting():
    assert longer(PACKAGE.rglob("*.py"), 400) == set()
    assert longer(TESTS.glob("test_*.py"), 500) == set()


def test_a_module_without_tests_is_seen(tmp_path):
    for name in ("data/geometry.py", "data/__init__.py", "errors.py", "__main__.py", "a/b/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["plots", "a_b_c", "data_geometry", "errors"]
