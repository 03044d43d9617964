"""Taking stock of a data set by name, in a folder and in memory."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import kilnet
from digit_runs import digits
from kilnet.errors import DataError


def test_digits_are_counted_by_class_as_in_scikit_learn():
    found = kilnet.inspect_data("digits", progress=False)
    counts = Counter(map(str, load_digits().target))
    assert sum(map(Counter, found.num_images.values()), Counter()) == counts


def test_images_in_memory_are_counted_as_they_are():
    data = digits()
    found = kilnet.inspect_data(data, progress=False)
    for name in ("train", "validation", "test"):
        expected = np.bincount(data.split(name).labels, minlength=10)
        assert found.num_images[name] == dict(zip(data.classes, expected.tolist(), strict=True))


def test_a_folder_is_counted_with_what_cannot_be_used(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (8, 8), (number * 20, 0, len(name))).save(tmp_path / name / f"{number}.png")
    (tmp_path / "dog" / "bad.png").write_bytes(b"no picture")
    found = kilnet.inspect_data(tmp_path, progress=False)
    assert found.classes == ("cat", "dog")
    assert sum(sum(split.values()) for split in found.num_images.values()) == 10
    assert [problem.path for problem in found.unusable] == ["dog/bad.png"]
    with pytest.raises(DataError, match="no such folder"):
        kilnet.inspect_data(tmp_path / "gone", progress=False)
