import copy

import numpy as np
import pytest
import torch
from torch import nn

from kilnet.config import ModelConfig
from kilnet.errors import ModelError
from kilnet.models import FastNet, advance, build, prepare
from kilnet.models.layers import Whitening


def plain(channels, widths, num_classes, side):
    """The network from torch's own layers, for a side that every pooling halves."""
    layers = [nn.Conv2d(channels, 8 * channels, 2), nn.GELU()]
    side -= 1
    inputs = 8 * channels
    for width in widths:
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(width), nn.GELU()]
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
        inputs, side = width, side // 2
    return nn.Sequential(
        *layers, nn.MaxPool2d(side), nn.Flatten(), nn.Linear(inputs, num_classes, bias=False)
    )


@pytest.mark.parametrize(
    ("channels", "side", "widths", "num_classes"),
    [(3, 32, (4, 6, 6), 10), (1, 16, (5, 3), 4), (3, 17, (8,), 2)],
)
def test_is_the_network_of_its_description(channels, side, widths, num_classes):
    torch.manual_seed(0)
    ours = FastNet(widths, image_shape=(channels, side, side), num_classes=num_classes)
    ours(torch.randn(8, channels, side, side))  # moves the running averages of batch norm
    theirs = plain(channels, widths, num_classes, side)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(4, channels, side, side)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images) / 9)


def test_at_its_defaults_it_has_the_parameters_of_airbench94():
    whitening, filters = 24 * 12 + 24, 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    scales = biases = 2 * 64 + 4 * 256
    model = FastNet()
    assert (
        sum(p.numel() for p in model.parameters())
        == whitening + filters + scales + biases + 2560
        == 1_972_792
    )
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert learned == 1_972_792 - 24 * 12 - scales


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 9), (8, 40), (11, 64), (150, 150)])
def test_takes_images_of_any_size(height, width):
    config = ModelConfig(name="FastNet", widths=[4, 8, 8])
    model = build(config, (3, height, width), 5)
    images = torch.randn(6, 3, height, width)
    model(images).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
    assert model(images[..., : height - 1, : width - 1] if height > 8 else images).shape == (6, 5)


@pytest.mark.parametrize(
    ("options", "shape", "part"),
    [
        ({"widths": []}, (3, 32, 32), "model.widths = []"),
        ({"widths": [4, 0]}, (3, 32, 32), "model.widths = [4, 0]"),
        ({"kernel_size": 4}, (3, 32, 32), "model.kernel_size = 4"),
        ({"bias_until": 1.5}, (3, 32, 32), "model.bias_until = 1.5"),
        ({"output_scale": 0.0}, (3, 32, 32), "model.output_scale = 0.0"),
        ({}, (3, 32, 7), "at least 8x8 pixels, these are 7x32; use `data.image_size=8` or more"),
    ],
)
def test_refuses_what_cannot_be(options, shape, part):
    with pytest.raises(ModelError) as caught:
        build(ModelConfig(name="FastNet", **options), shape, 10)
    assert part in str(caught.value)


def test_filters_begin_as_the_identity_on_the_channels_that_are_there():
    group = FastNet((40,)).groups[0]
    x = torch.randn(2, 24, 10, 10)
    torch.testing.assert_close(group.conv1(x)[:, :24], x)
    x = torch.randn(2, 40, 10, 10)
    torch.testing.assert_close(group.conv2(x), x)
    assert group.conv1.weight[24:].std() > 0.01


def test_outputs_that_pooling_drops_are_not_computed():
    group = FastNet((6,)).groups[0]
    for height, width in ((15, 15), (14, 7), (1, 9), (8, 8)):
        x = torch.randn(2, 24, height, width)
        whole = nn.functional.conv2d(x, group.conv1.weight, padding=1)
        kept = whole[:, :, : height // 2 * 2 or 1, : width // 2 * 2]
        torch.testing.assert_close(group.conv1(x), kept)


def test_the_biases_of_the_whitening_learn_in_the_first_part_alone():
    model, images = FastNet((4,), bias_until=0.5), torch.randn(3, 3, 10, 10)

    def gradients(done):
        advance(model, done)
        model.zero_grad()
        model(images).square().sum().backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    first, second = gradients(0.49), gradients(0.5)
    assert first.keys() - second.keys() == {"whitening.bias"}
    assert all(torch.equal(first[name], second[name]) for name in second)
    advance(nn.Linear(2, 2), 0.5)  # others have no parts


def correlated_images(num_images=200, channels=3, side=16):
    """Smooth noise, as in photographs: neighbours and channels are nearly equal."""
    noise = torch.randn(num_images, channels, side, side, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.avg_pool2d(noise, 5, stride=1, padding=2) * 5
    return smooth + 0.7 * smooth.mean(1, keepdim=True)


@pytest.mark.parametrize(("channels", "kernel_size"), [(3, 2), (1, 2), (3, 3), (3, 1)])
def test_whitened_patches_have_unit_variance_and_no_correlation(channels, kernel_size):
    images = correlated_images(channels=channels)
    layer = Whitening(channels, kernel_size)
    layer.bias.data.zero_()
    layer.fit(images)
    size = channels * kernel_size**2
    outputs = layer(images).detach().transpose(0, 1).flatten(1).double()
    assert torch.equal(outputs[:size], -outputs[size:])
    second_moments = outputs[:size] @ outputs[:size].T / outputs.shape[1]
    off_diagonal = second_moments - second_moments.diag().diag()
    assert off_diagonal.abs().max() < 1e-4
    # Against numpy's eigenvalues: what is left of 1 is the guard against blowing noise up.
    windows = np.lib.stride_tricks.sliding_window_view(
        images.numpy(), (kernel_size, kernel_size), axis=(2, 3)
    )
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, size).astype(np.float64)
    variances = np.linalg.eigvalsh(patches.T @ patches / len(patches))[::-1]
    np.testing.assert_allclose(second_moments.diag(), variances / (variances + 5e-4), rtol=1e-4)


def test_prepare_fits_the_whitening_and_nothing_else():
    torch.manual_seed(0)
    model = FastNet((4,)).to(memory_format=torch.channels_last)
    before = copy.deepcopy(model.state_dict())
    prepare(model, correlated_images())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"whitening.weight"}
    assert model.whitening.weight.is_contiguous(memory_format=torch.channels_last)
    prepare(nn.Linear(2, 2), correlated_images())  # others need no preparation


def test_bf16_and_channels_last_compute_the_same():
    torch.manual_seed(0)
    model = FastNet((16, 32))
    images = correlated_images(64, side=32)
    prepare(model, images)
    exact = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        layout = torch.channels_last
        fast = model.to(memory_format=layout)(images.contiguous(memory_format=layout))
    assert torch.corrcoef(torch.stack([exact.flatten(), fast.float().flatten()]))[0, 1] > 0.999
