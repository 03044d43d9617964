import numpy as np
from sklearn.datasets import load_digits

from kilnet.config import DataConfig
from kilnet.data.sources import load_dataset


def test_digits_are_those_of_scikit_learn():
    dataset = load_dataset(DataConfig(source="digits", image_size=8))
    original = load_digits()
    assert dataset.classes == tuple("0123456789")
    seen = 0
    for split in (dataset.train, dataset.validation, dataset.test):
        rows = [int(name) for name in split.names]
        np.testing.assert_array_equal(split.labels, original.target[rows])
        np.testing.assert_array_equal(split.images[:, 0], np.rint(original.images[rows] / 16 * 255))
        seen += len(rows)
    assert seen == 1797


def test_digits_are_sixteen_pixels_unless_asked_otherwise():
    dataset = load_dataset(DataConfig(source="digits"))
    assert dataset.image_shape == (1, 16, 16)
    sizes = [len(dataset.train), len(dataset.validation), len(dataset.test)]
    assert np.allclose(np.array(sizes) / 1797, [0.72, 0.08, 0.2], atol=0.005)
