"""EfficientNet-Lite as its authors describe it; with their weights it is compared in test_models_pretrained.py."""

import pytest
import torch

from kilnet.errors import ModelError
from kilnet.models import EfficientNetLite


@pytest.mark.parametrize(("size", "millions"), [(0, 4.65), (1, 5.42), (2, 6.09)])
def test_the_number_of_weights_is_the_published_one(size, millions):
    network = EfficientNetLite(size, num_classes=1000)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("side", [32, 65, 97])
def test_any_size_from_32_pixels_on_gives_one_logit_for_each_class(side):
    network = EfficientNetLite(image_shape=(3, side, side), num_classes=4).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, side, side)).shape == (2, 4)
        assert network.features(torch.zeros(2, 3, side, side)).shape == (2, 1280)


def test_grey_images_are_seen_as_three_equal_channels():
    torch.manual_seed(0)
    colour = EfficientNetLite(image_shape=(3, 64, 64), num_classes=4).eval()
    grey = EfficientNetLite(image_shape=(1, 64, 64), num_classes=4).eval()
    grey.load_state_dict(colour.state_dict())
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(grey(image), colour(image.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3}, r"model\.size = 3: must be 0, 1 or 2"),
        ({"dropout": 1.0}, r"model\.dropout = 1\.0"),
        ({"image_shape": (3, 31, 40)}, "at least 32x32"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        EfficientNetLite(**options)
