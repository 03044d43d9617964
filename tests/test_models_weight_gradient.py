"""The gradient of filters by matrix products, beside torch's own in double precision."""

import copy

import pytest
import torch
from torch import nn

from kilnet.models import FastNet
from kilnet.models.weight_gradient import use_products
from network_gradients import gradients


@pytest.mark.parametrize("side", [8, 13, 16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("is_bf16", [False, True])
def test_gradients_of_a_whole_network_are_those_of_torch(side, layout, is_bf16):
    torch.manual_seed(side)
    model = FastNet((8, 16, 32), image_shape=(3, side, side)).to(memory_format=layout)
    ours, exact = copy.deepcopy(model), copy.deepcopy(model).double()
    use_products(ours)
    ours = copy.deepcopy(ours)  # as an average of weights is made
    images = torch.randn(12, 3, side, side).contiguous(memory_format=layout)
    found, theirs, right = (
        gradients(ours, images, is_bf16),
        gradients(model, images, is_bf16),
        gradients(exact, images.double()),
    )
    assert found.keys() == theirs.keys()
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32
        error, usual = ((each - right[name]).norm() / right[name].norm() for each in (gradient, theirs[name]))
        assert error <= (1.2 * usual + 1e-3 if is_bf16 else 1e-4), name
    with torch.no_grad():
        assert torch.equal(ours(images), model(images))


@pytest.mark.parametrize(
    ("padding", "size"), [(0, (1, 1)), (0, (2, 2)), (1, (3, 3)), ((1, 0), (3, 1)), ((0, 1), (2, 3))]
)
def test_one_layer_and_its_inputs(padding, size):
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 7, size, padding=padding, bias=False).double()
    ours = copy.deepcopy(layer)
    use_products(ours)
    images = [
        torch.randn(4, 5, 3, 2, dtype=torch.double, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    for one, image in zip((layer, ours), images, strict=True):
        (one(image.requires_grad_()) ** 3).sum().backward()
    assert "_Convolution" in str(ours(images[1]).grad_fn), "or nothing is tested"
    torch.testing.assert_close(ours.weight.grad, layer.weight.grad)
    torch.testing.assert_close(images[1].grad, images[0].grad)


def test_other_convolutions_and_large_outputs_stay_torchs():
    kinds = [{"stride": 2}, {"groups": 2}, {"dilation": 2}, {"bias": True}, {"padding": "same"}]
    for kind in kinds:
        layer = nn.Conv2d(4, 4, 3, **({"bias": False} | kind))
        use_products(layer)
        assert "Convolution" not in str(layer(torch.ones(2, 4, 7, 7)).grad_fn).replace(
            "ConvolutionBackward", ""
        )
    layer = nn.Conv2d(4, 4, 3, bias=False)
    use_products(layer)
    assert "ConvolutionBackward0" in str(layer(torch.ones(2, 4, 30, 30)).grad_fn)
    layer.weight.requires_grad_(False)
    assert layer(torch.ones(2, 4, 3, 3)).grad_fn is None
