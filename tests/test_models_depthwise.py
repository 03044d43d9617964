"""Gradients of depthwise convolutions, beside torch's own in double precision."""

import copy

import pytest
import torch
from torch import nn

from kilnet.models import EfficientNetLite
from kilnet.models.depthwise import has_any, quicker
from kilnet.models.layers import PaddedConv
from kilnet.models.weight_gradient import use_products
from network_gradients import gradients


@pytest.mark.parametrize("side", [3, 4, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize("size", [(12, 11), (9, 14)])
def test_gradients_are_those_of_torch(side, stride, is_padded, size):
    torch.manual_seed(0)
    padding = (side // 2, side // 2 - 1) if is_padded else 0
    layer = nn.Conv2d(6, 6, side, stride, padding, groups=6).double()
    ours = copy.deepcopy(layer)
    use_products(ours)
    images = torch.randn(4, 6, *size, dtype=torch.double)
    both = [images.clone().requires_grad_() for _ in range(2)]
    for one, image in zip((layer, ours), both, strict=True):
        (one(image) ** 3).sum().backward()
    assert "_Depthwise" in str(ours(both[1]).grad_fn), "or nothing is tested"
    torch.testing.assert_close(both[1].grad, both[0].grad)
    torch.testing.assert_close(ours.weight.grad, layer.weight.grad)
    torch.testing.assert_close(ours.bias.grad, layer.bias.grad)
    with torch.no_grad():
        assert torch.equal(ours(images), layer(images))


def test_only_what_learns_gets_a_gradient():
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)
    use_products(layer)
    layer.weight.requires_grad_(False)
    assert layer(torch.ones(1, 4, 8, 8)).grad_fn is None
    image = torch.ones(1, 4, 8, 8, requires_grad=True)
    layer(image).sum().backward()
    assert image.grad is not None
    assert layer.weight.grad is None


def test_other_layers_are_left_alone():
    others = [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 1, groups=4),
        nn.Conv2d(4, 4, (3, 5), groups=4),
        nn.Conv2d(4, 4, 3, groups=4, dilation=2),
        nn.Conv2d(4, 4, 3, groups=4, padding="same"),
        nn.Conv2d(4, 4, 3, groups=4, padding=3),
        nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
    ]
    for layer in others:
        assert quicker(layer) is None
    assert not has_any(nn.Sequential(*others))
    assert has_any(nn.Sequential(PaddedConv(4, 4, 3, 2, groups=4)))


@pytest.mark.parametrize("is_bf16", [False, True])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_gradients_of_a_whole_network(is_frozen, is_bf16):
    """Batch norm that keeps its statistics is part of the filters; the reference goes layer by layer."""
    torch.manual_seed(0)
    model = EfficientNetLite(0, dropout=0.0, image_shape=(3, 64, 64)).to(memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.train(not is_frozen)
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if isinstance(module, nn.Sequential):
            module.forward = nn.Sequential.forward.__get__(module)  # layer by layer
    exact = copy.deepcopy(plain).double()
    use_products(model)
    images = torch.randn(6, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    found = gradients(model, images, is_bf16)
    theirs = gradients(plain, images, is_bf16)
    right = gradients(exact, images.double())

    def error(gradients):
        parts = [(gradients[name] - right[name]).norm() for name in right]
        return torch.stack(parts).norm() / torch.stack([each.norm() for each in right.values()]).norm()

    assert found.keys() == right.keys()
    assert error(found) <= 1.2 * error(theirs) + (1e-3 if is_bf16 else 1e-4)
