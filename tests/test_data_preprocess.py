"""Normalisation against numpy, and what a constant channel does."""

import numpy as np
import pytest
import torch

from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.preprocess import Preprocessing


def dataset_of(images):
    labels = np.arange(len(images)) % 2
    split = Split(images, labels, tuple(map(str, range(len(images)))))
    return ImageDataset("made", ("a", "b"), split, split, None)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(10, 250, (50, 3, 6, 5)).astype(np.uint8)


def test_fitted_is_mean_0_and_deviation_1(images):
    preprocessing = Preprocessing.fit(dataset_of(images))
    assert preprocessing.mean == pytest.approx(images.mean((0, 2, 3)) / 255)
    assert preprocessing.std == pytest.approx(images.std((0, 2, 3)) / 255)
    assert preprocessing.image_size == (6, 5)
    normal = preprocessing(torch.from_numpy(images)).double()
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "shape", [(2, 1, 1, 1), (3, 1, 5, 7), (700, 3, 33, 31)]
)  # several blocks, odd numbers
def test_mean_and_deviation_of_any_number_of_pixels(shape):
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    preprocessing = Preprocessing.fit(dataset_of(images))
    assert preprocessing.mean == pytest.approx(images.mean((0, 2, 3)) / 255)
    assert preprocessing.std == pytest.approx(images.std((0, 2, 3)) / 255)


def test_half_maps_to_minus_one_and_one(images):
    preprocessing = Preprocessing.half(dataset_of(images))
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(preprocessing(ends)[:, 0].flatten(), torch.tensor([-1.0, 1.0]))


def test_bytes_and_floats_come_out_alike(images):
    preprocessing = Preprocessing.fit(dataset_of(images))
    pixels = torch.from_numpy(images)
    before = pixels.float()
    assert torch.equal(preprocessing(before), preprocessing(pixels))
    assert torch.equal(before, pixels.float())


def test_a_constant_channel_becomes_zero(images):
    images[:, 1] = 77
    normal = Preprocessing.fit(dataset_of(images))(torch.from_numpy(images))
    torch.testing.assert_close(normal[:, 1], torch.zeros(50, 6, 5), atol=1e-5, rtol=0)
