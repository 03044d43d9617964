import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache, or the user's copy of a data set."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("KILNET_CACHE", str(cache))
    monkeypatch.delenv("KILNET_DATA", raising=False)
    return cache


@pytest.fixture(scope="session")
def cifar10_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the real `cifar-10-batches-bin`."""
    given = os.environ.get("KILNET_TEST_CIFAR10")
    if given:
        yield Path(given)
        return
    unpack = SHARED_DATA / "unpack_cifar10.py"
    if not unpack.exists():
        pytest.skip("no CIFAR-10 here: point KILNET_TEST_CIFAR10 at a copy")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(unpack), str(folder)], check=True, capture_output=True)
    yield folder
