"""A split on the device holds what the split holds, from memory or from a mapped file."""

import numpy as np
import pytest
import torch

from kilnet.data.dataset import Split
from kilnet.hardware import Settings
from kilnet.training import device_split
from kilnet.training.device_split import DeviceSplit

SETTINGS = Settings("cpu", "fp32", "contiguous", 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), np.uint8)


def split(images, weights=None):
    labels = np.arange(len(images)) % 3
    return Split(images, labels, tuple(map(str, range(len(images)))), weights=weights)


@pytest.mark.parametrize("is_mapped", [False, True])
def test_images_come_in_the_order_of_their_indices(tmp_path, is_mapped):
    (tmp_path / "images").write_bytes(IMAGES.tobytes())
    images = np.memmap(tmp_path / "images", np.uint8, "r", shape=IMAGES.shape) if is_mapped else IMAGES
    found = DeviceSplit(split(images), SETTINGS)
    chosen = torch.tensor([7, 0, 7, 3])
    assert torch.equal(found.take(chosen), torch.from_numpy(IMAGES[chosen.numpy()]))
    assert found.labels.tolist() == [number % 3 for number in range(12)]
    assert len(found) == 12


def test_weights_are_1_on_average():
    weights = DeviceSplit(split(IMAGES, np.arange(1, 13, dtype=np.float32)), SETTINGS).weights
    assert weights.tolist() == pytest.approx([number / 6.5 for number in range(1, 13)])
    assert DeviceSplit(split(IMAGES), SETTINGS).weights is None


def test_what_comes_next_is_read_ahead(monkeypatch):
    asked = []
    monkeypatch.setattr(
        device_split, "read_ahead", lambda images, rows: asked.append((images, rows.tolist()))
    )
    found = DeviceSplit(split(IMAGES), SETTINGS)
    found.expect(torch.tensor([4, 2]))
    found.take(torch.tensor([1]))
    assert [rows for _, rows in asked] == [[4, 2], [1]]
    assert all(np.shares_memory(images, IMAGES) for images, _ in asked)
