"""Training on smaller images first."""

import numpy as np
import pytest
import torch
from PIL import Image

from kilnet.training.resolution import shrink
from small_loops import epochs_of, make_dataset, make_fastnet, make_loop


def test_images_are_small_as_long_as_the_plan_says():
    sides = []
    model = make_fastnet()
    loop = make_loop(
        make_dataset(side=12),
        model,
        training__epochs=2,
        training__batch_norm_images=50,
        training__low_resolution=[[0.25, 0.5], [0.625, 0.7]],
    )
    loop.model.register_forward_hook(
        lambda _, images, __: sides.append((model.training, *images[0].shape[2:]))
    )
    epochs_of(loop)
    trained = [side for training, side, _ in sides if training]
    assert trained == [6, 6, 8, 8, 8, 12, 12, 12]  # eight steps; 12 * 0.7 is 8.4
    assert {side for training, side, _ in sides if not training} == {12}


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 24), (23, 9), (32, 32)])
def test_shrinking_agrees_with_pillow(height, width):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
    small = shrink(torch.from_numpy(images), height, width)
    for image, ours in zip(images, small.numpy(), strict=True):
        picture = Image.fromarray(image.transpose(1, 2, 0)).resize((width, height), Image.Resampling.BILINEAR)
        # Pillow rounds after each of two passes.
        assert np.abs(np.asarray(picture).transpose(2, 0, 1) - ours.astype(np.float64)).max() <= 1.01
