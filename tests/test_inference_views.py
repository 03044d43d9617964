"""Views against a loop over one image and one view at a time."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kilnet.config import ViewsConfig
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.inference import forward, views

SETTINGS = Settings("cpu", "fp32", "contiguous", 1)
PREPROCESSING = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), (9, 8))
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 9, 8), np.uint8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(216, 4), nn.ReLU(), nn.Linear(4, 3))
    model[3].weight.data *= 4  # sure of some images
    return model


def seen(model, image):
    mean, std = (np.array(values)[:, None, None] for values in (PREPROCESSING.mean, PREPROCESSING.std))
    with torch.no_grad():
        return model(torch.from_numpy(((image / 255 - mean) / std).astype(np.float32))[None])[0]


def by_hand(model, image, mirror, shift_px):
    def both(image):
        return seen(model, image), *([seen(model, image[:, :, ::-1].copy())] if mirror else [])

    unmoved = torch.stack(both(image)).mean(0)
    if not shift_px:
        return unmoved
    padded = np.pad(image, [(0, 0), (shift_px, shift_px), (shift_px, shift_px)], mode="symmetric")
    corners = padded[:, 2 * shift_px :, 2 * shift_px :], padded[:, : -2 * shift_px, : -2 * shift_px]
    moved = torch.stack([logits for corner in corners for logits in both(corner)]).mean(0)
    return (unmoved + moved) / 2


@pytest.mark.parametrize("margin", [1.0, 0.3, 0.05])
@pytest.mark.parametrize(("mirror", "shift_px"), [(True, 0), (True, 1), (False, 2)])
def test_unsure_images_get_the_mean_of_all_views_and_sure_ones_keep_the_first(
    model, mirror, shift_px, margin
):
    config = ViewsConfig(mirror=mirror, shift_px=shift_px, margin=margin)
    ours = views.logits(model, torch.from_numpy(IMAGES), PREPROCESSING, SETTINGS, config)
    num_unsure = 0
    for image, logits in zip(IMAGES, ours, strict=True):
        first = seen(model, image)
        highest = sorted(F.softmax(first, 0).tolist())[-2:]
        is_unsure = highest[1] - highest[0] < margin
        num_unsure += is_unsure
        expected = by_hand(model, image, mirror, shift_px) if is_unsure else first
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert num_unsure == 40 if margin == 1 else 0 < num_unsure < 40


def test_without_further_views_or_doubts_one_pass_is_all(model, monkeypatch):
    num_passes = 0

    def count(*arguments):
        nonlocal num_passes
        num_passes += 1
        return real(*arguments)

    real = forward.logits
    monkeypatch.setattr(forward, "logits", count)
    pixels = torch.from_numpy(IMAGES)
    plain = views.logits(model, pixels, PREPROCESSING, SETTINGS, ViewsConfig())
    sure = views.logits(model, pixels, PREPROCESSING, SETTINGS, ViewsConfig(mirror=True, margin=1e-6))
    assert num_passes == 2
    assert torch.equal(plain, sure)
