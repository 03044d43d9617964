"""Images that do not fit into memory: mapped files give what memory gives, and nothing is left of them."""

import mmap

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.config import DataConfig
from kilnet.data import mapped_images
from kilnet.data.preprocess import Preprocessing
from kilnet.data.sources import load_dataset
from kilnet.errors import StorageError


@pytest.fixture
def no_memory(monkeypatch):
    """A machine on which nothing fits into memory."""
    monkeypatch.setattr(mapped_images, "_PART_OF_MEMORY", 1e-12)


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(24):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "b" / "24.png").write_bytes(b"no picture")
    return tmp_path / "photos"


def is_mapped(images):
    while images is not None:
        if isinstance(images, np.memmap):
            return True
        images = images.base if isinstance(images, np.ndarray) else None
    return False


def loaded(folder):
    return load_dataset(DataConfig(source=str(folder), on_bad_image="skip"))


def test_a_folder_that_does_not_fit_is_mapped_and_the_same(photos, own_cache, no_memory, monkeypatch):
    mapped = [loaded(photos), loaded(photos)]  # decoded, and from the cache
    assert all(is_mapped(dataset.train.images) for dataset in mapped)
    monkeypatch.undo()
    monkeypatch.setenv("KILNET_CACHE", str(own_cache / "another"))
    whole = loaded(photos)
    assert not is_mapped(whole.train.images)
    assert {dataset.fingerprint for dataset in mapped} == {whole.fingerprint}
    assert {Preprocessing.fit(dataset) for dataset in mapped} == {Preprocessing.fit(whole)}
    for dataset in mapped:
        assert np.array_equal(dataset.split("all").images, whole.split("all").images)
        assert dataset.split("all").names == whole.split("all").names
    assert not list((own_cache / "mapped").iterdir()), "a file that is mapped has no name"


def test_a_training_on_mapped_images_writes_the_same_bytes(photos, tmp_path, request):
    settings = {
        "data.on_bad_image": "skip",
        "hardware.threads": 1,
        "model.c1": 4,
        "model.c2": 4,
        "model.l1": 8,
    }
    for name in ("memory", "mapped"):
        if name == "mapped":
            request.getfixturevalue("no_memory")
        kilnet.train(photos, epochs=2, settings=settings, device="cpu", out=tmp_path / name, progress=False)
    written = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("memory", "mapped")]
    assert written[0] == written[1]


def test_what_is_written_into_mapped_images_stays_out_of_the_cache(photos, no_memory):
    first = loaded(photos)
    before = first.validation.images.copy()
    loaded(photos).validation.images[:] = 0
    assert np.array_equal(loaded(photos).validation.images, before)


def test_no_room_for_mapped_images_is_one_line(own_cache):
    with pytest.raises(StorageError, match=r"no room for 1000000\.0 GB"):
        mapped_images.empty_images((10**9, 1, 1000, 1000))
    assert not list((own_cache / "mapped").iterdir())


@pytest.mark.parametrize(
    ("line", "file"),
    [("0::/outer/inner", "outer/memory.max"), ("4:cpu,memory:/inner", "memory/inner/memory.limit_in_bytes")],
)
def test_the_limit_of_a_control_group_counts(tmp_path, monkeypatch, line, file):
    (tmp_path / "own").write_text(f"3:cpuset:/\n{line}\n")
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("4000\n")
    monkeypatch.setattr(mapped_images, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(mapped_images, "_OWN_GROUPS", tmp_path / "own")
    assert mapped_images.most_in_memory() == 1000


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no advice")
def test_of_a_mapped_file_the_images_that_are_needed_are_asked_for_and_no_others(tmp_path, monkeypatch):
    asked = []

    class Told(mmap.mmap):
        def madvise(self, *advice):
            asked.append(advice)
            super().madvise(*advice)

    monkeypatch.setattr(mmap, "mmap", Told)
    stored = np.random.default_rng(0).integers(0, 256, (40, 3, 50, 50), np.uint8)
    (tmp_path / "images").write_bytes(bytes(100) + stored.tobytes())
    content = (tmp_path / "images").read_bytes()
    images = np.asarray(np.memmap(tmp_path / "images", np.uint8, "c", 100, stored.shape))[5:]
    rows = np.array([30, 2, 17])
    assert np.array_equal(mapped_images.gathered(images, rows), stored[5:][rows])
    assert len(asked) == 3
    for row, (advice, start, length) in zip(rows, asked, strict=True):
        assert advice == mmap.MADV_WILLNEED
        assert start % mmap.PAGESIZE == 0
        assert length < images[row].nbytes + mmap.PAGESIZE
        assert content[start : start + length].endswith(images[row].tobytes())


def test_of_memory_nothing_is_asked_for():
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), np.uint8)
    mapped_images.read_ahead(images, np.arange(10))
    assert np.array_equal(mapped_images.gathered(images, np.array([3, 1])), images[[3, 1]])
