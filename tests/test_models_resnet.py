"""The residual network of He et al."""

import pytest
import torch
from torch import nn

from kilnet.config import ModelConfig
from kilnet.errors import ModelError
from kilnet.models import ResNet, build


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_resnet_20_has_the_number_of_parameters_of_its_definition():
    def block(c_in, c_out):
        shortcut = c_in * c_out + 2 * c_out if c_in != c_out else 0
        return 9 * c_in * c_out + 9 * c_out * c_out + 4 * c_out + shortcut

    stages = (
        [block(16, 16)] * 3 + [block(16, 32)] + [block(32, 32)] * 2 + [block(32, 64)] + [block(64, 64)] * 2
    )
    by_hand = 27 * 16 + 32 + sum(stages) + 65 * 10
    assert by_hand == 272_474
    assert count(ResNet()) == by_hand


@pytest.mark.parametrize("depth", [8, 14, 20, 32])
def test_resnet_depth_counts_the_layers_of_the_main_path(depth):
    model = ResNet(depth, width=2)
    layers = [
        m
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(layers) == depth


def test_resnet_quarters_the_resolution_and_takes_any_size():
    model = ResNet(8, 4, image_shape=(1, 32, 32), num_classes=5).eval()
    sizes = []
    for block in model.blocks:
        block.register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 1, 32, 32))
    assert sizes == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]
    assert model(torch.zeros(2, 1, 7, 1)).shape == (2, 5)


@pytest.mark.parametrize(("option", "value"), [("depth", 9), ("depth", 2), ("depth", -4), ("width", 0)])
def test_resnet_refuses_what_is_no_resnet(option, value):
    with pytest.raises(ModelError, match=rf"model\.{option} = {value}"):
        build(ModelConfig(name="ResNet", **{option: value}), (3, 32, 32), 10)
