"""The strength of features behind the logits, of networks of every make."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kilnet import models
from kilnet.config import ModelConfig
from kilnet.inference.evidence import with_strength

IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NETWORKS = {
    "ConvNet": {},
    "ConfigNet": {"c1": 4, "c2": 4, "l1": 8},
    "ResNet": {"depth": 8, "width": 4},
    "FastNet": {"widths": [8, 8], "output_scale": 0.25},
    "EfficientNetLite": {},
}


class OwnNetwork(nn.Module):
    def __init__(self, end):
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.end = end

    def forward(self, images):
        return self.end(self.layer(images.mean((2, 3))))


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_stay_and_the_strength_is_that_of_what_the_last_layer_gets(name):
    torch.manual_seed(0)
    network = models.build(ModelConfig(name=name, **NETWORKS[name]), (3, 32, 32), 4).eval()
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    seen = []
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        expected = network(IMAGES)
        hook.remove()
        found = with_strength(network, IMAGES[:2])(IMAGES)
    assert torch.equal(found[:, :-1], expected)
    factor = 0.25 if name == "FastNet" else 1.0
    torch.testing.assert_close(found[:, -1], factor * seen[0].abs().mean(1))
    assert found[:, -1].min() > 0
    assert isinstance(last, nn.Linear), "the network itself is as it was"
    assert torch.equal(network(IMAGES), expected)


@pytest.mark.parametrize(
    "end",
    [
        lambda x: F.log_softmax(x, 1),
        lambda x: x - x.mean(1, keepdim=True),
        lambda x: x.view(-1, 4),
        lambda x: x[:, :4],
    ],
)
def test_a_network_that_does_more_with_its_logits_has_no_strength(end):
    network = OwnNetwork(end).eval()
    with torch.no_grad():
        found = with_strength(network, IMAGES[:2])(IMAGES)
        assert torch.equal(found[:, :-1], network(IMAGES))
    assert torch.equal(found[:, -1], torch.zeros(5))


def test_a_network_without_a_linear_layer_has_no_strength():
    network = nn.Sequential(nn.Conv2d(3, 4, 32), nn.Flatten()).eval()
    with torch.no_grad():
        found = with_strength(network, IMAGES[:2])(IMAGES)
    assert found.shape == (5, 5)
    assert not found[:, -1].any()
