"""Networks in which layers are joined, against the same networks as torch computes them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kilnet.inference import fusion
from kilnet.inference.fusion import fused
from kilnet.models import ConfigNet, FastNet, ResNet

IMAGES = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def own():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2, groups=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 6),
        nn.ReLU(),
    )


def used(model):
    """A network whose batch norm has seen other images than those of the test, in evaluation mode."""
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 16, 16) * 2 + 1)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def layers(model):
    return [type(module).__name__ for module in model.modules()]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ConfigNet(8, 12, 16, image_shape=(3, 16, 16), num_classes=4),
        lambda: ResNet(depth=8, width=4, image_shape=(3, 16, 16), num_classes=4),
        lambda: FastNet([6, 8, 8], image_shape=(3, 16, 16), num_classes=4),
        own,
    ],
)
def test_it_answers_as_before_and_leaves_the_network_as_it_was(make, memory_format):
    model = used(make()).to(memory_format=memory_format)
    images = IMAGES.contiguous(memory_format=memory_format)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(images)
        joined = fused(model, images[:2])
        assert joined is not model
        torch.testing.assert_close(joined(images), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(model(images), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert "_WithActivation" in layers(joined)
    assert "_WithActivation" not in layers(model)


def test_a_residual_network_has_no_batch_norm_left_and_relus_only_behind_sums():
    joined = fused(used(ResNet(depth=8, width=4, image_shape=(3, 16, 16), num_classes=4)), IMAGES)
    assert not [node for node in joined.graph.nodes if "norm" in node.name]
    relus = [node for node in joined.graph.nodes if node.target is F.relu]
    assert len(relus) == 3  # one a block
    assert all("add" in relu.args[0].name for relu in relus)


def test_fast_net_keeps_the_batch_norm_behind_pooling_and_no_other():
    joined = fused(used(FastNet([6, 8, 8], image_shape=(3, 16, 16), num_classes=4)), IMAGES)
    assert len([node for node in joined.graph.nodes if "norm" in node.name]) == 3  # one a group
    # The whitening, and the second convolution of each group.
    assert layers(joined).count("_WithActivation") == 4


class Branching(nn.Module):
    """Reads a convolution before and behind ReLU, and uses another one twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.first(x)
        x = x + F.relu(x)
        return F.relu(self.again(self.again(x).sigmoid())).mean((2, 3))


class RoughGELU(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.gelu(self.conv(x), approximate="tanh")


@pytest.mark.parametrize(
    "make",
    [
        Branching,
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(approximate="tanh")),
        RoughGELU,
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.ReLU()),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU()),
    ],
)
def test_what_cannot_be_joined_stays(make):
    model = used(make())
    joined = fused(model, IMAGES)
    assert "_WithActivation" not in layers(joined)
    torch.testing.assert_close(joined(IMAGES), model(IMAGES))


class Undecided(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.relu(self.conv(x)) if x.mean() > 0 else self.conv(x)


def test_code_that_goes_by_values_is_left_alone():
    model = used(Undecided())
    assert fused(model, IMAGES) is model


@pytest.mark.parametrize("change", [AttributeError("no such operator"), 1e-2])
def test_operators_that_are_gone_or_answer_otherwise_are_not_used(monkeypatch, change):
    right = fusion._WithActivation.forward

    def changed(self, x):
        if isinstance(change, Exception):
            raise change
        return right(self, x) + change

    monkeypatch.setattr(fusion._WithActivation, "forward", changed)
    model = used(own())
    assert fused(model, IMAGES) is model
