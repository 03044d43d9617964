"""ConvNet and ConfigNet against the tutorial's network from torch's own layers."""

import pytest
import torch
from torch import nn

from kilnet.config import ModelConfig
from kilnet.errors import ModelError
from kilnet.models import ConfigNet, ConvNet, build


def plain_convnet(c1, c2, l1, d1, kernel, channels, flat, num_classes):
    """The tutorial's network from torch's own layers."""
    return nn.Sequential(
        nn.Conv2d(channels, c1, kernel),
        nn.ReLU(),
        nn.Conv2d(c1, c1, kernel),
        nn.ReLU(),
        nn.Dropout(d1),
        nn.Conv2d(c1, c2, kernel),
        nn.ReLU(),
        nn.Conv2d(c2, c2, kernel, stride=2),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.BatchNorm1d(flat),
        nn.ReLU(),
        nn.Linear(flat, l1),
        nn.ReLU(),
        nn.Linear(l1, num_classes),
    )


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_convnet_is_the_tutorials_network():
    torch.manual_seed(0)
    ours = ConvNet()
    theirs = plain_convnet(48, 48 * 2, 256, 0.1, 3, 3, 96 * 12 * 12, 10)
    ours(torch.randn(8, 3, 32, 32))  # moves the running mean and variance of the batch norm away from 0 and 1
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(4, 3, 32, 32)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize(
    ("image_shape", "num_classes", "kernel", "flat_side"),
    [
        ((3, 32, 32), 10, 3, (12, 12)),
        ((1, 16, 16), 3, 3, (4, 4)),
        ((1, 9, 9), 2, 3, (1, 1)),
        ((3, 24, 40), 7, 3, (8, 16)),
        ((3, 32, 32), 10, 5, (8, 8)),
        ((1, 17, 18), 4, 5, (1, 1)),
    ],
)
def test_confignet_counts_and_logits(image_shape, num_classes, kernel, flat_side):
    c1, c2, l1 = 5, 6, 7
    model = ConfigNet(c1, c2, l1, kernel_size=kernel, image_shape=image_shape, num_classes=num_classes)
    flat, area = c2 * flat_side[0] * flat_side[1], kernel**2
    convolutions = (
        (image_shape[0] * area + 1) * c1 + (c1 * area + 1) * c1 + (c1 * area + 1) * c2 + (c2 * area + 1) * c2
    )
    assert count(model) == convolutions + 2 * flat + (flat + 1) * l1 + (l1 + 1) * num_classes
    images = torch.randn(3, *image_shape)
    plain = plain_convnet(c1, c2, l1, 0.1, kernel, image_shape[0], flat, num_classes).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), model.state_dict().values(), strict=True)))
    torch.testing.assert_close(model.eval()(images), plain(images))
    for network in (model, plain):
        network(images).square().sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize(("side", "seen"), [(32, 31), (31, 31), (14, 13)])
def test_confignet_computes_nothing_that_its_stride_passes_over(side, seen):
    model = ConfigNet(4, 4, 4, image_shape=(3, side, side))
    shapes = []
    model.conv3.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[2:]))
    model(torch.randn(2, 3, side, side))
    assert shapes == [(seen - 6, seen - 6)]


def test_d1_is_the_first_dropout_and_the_second_is_a_half():
    model = ConfigNet(4, 4, 4, d1=0.37)
    assert (model.dropout1.p, model.dropout2.p) == (0.37, 0.5)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7])
def test_smallest_image_is_the_one_that_the_message_names(kernel):
    with pytest.raises(ModelError) as caught:
        ConfigNet(2, 2, 2, kernel_size=kernel, image_shape=(3, 0, 0))
    smallest = int(str(caught.value).split("at least ")[1].split("x")[0])
    options = {"c1": 2, "c2": 2, "l1": 2, "kernel_size": kernel}
    build(ModelConfig(name="ConfigNet", **options), (3, smallest, smallest), 2)
    for shape in ((3, smallest - 1, 64), (3, 64, smallest - 1)):
        with pytest.raises(ModelError, match=f"{shape[2]}x{shape[1]}"):
            build(ModelConfig(name="ConfigNet", **options), shape, 2)


@pytest.mark.parametrize(
    ("option", "value"), [("c1", 0), ("c2", -1), ("l1", 0), ("kernel_size", 0), ("d1", 1.0), ("d1", -0.1)]
)
def test_confignet_refuses_sizes_that_cannot_be(option, value):
    with pytest.raises(ModelError, match=rf"model\.{option} = {value}"):
        build(ModelConfig(name="ConfigNet", **{option: value}), (3, 32, 32), 10)


def test_dropout_acts_in_training_alone():
    model = build(ModelConfig(c1=4, c2=4, l1=8), (1, 16, 16), 3)
    images = torch.randn(4, 1, 16, 16)
    assert model.training
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
