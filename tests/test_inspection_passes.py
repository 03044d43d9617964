"""Which layers run, in which order, and that looking leaves them alone."""

import numpy as np
import pytest
import torch

from inspected import NETWORKS, backwards, config_net, pictures, res_net, without_convolution
from kilnet.errors import DataError, InputError, ModelError
from kilnet.inspection.features import feature_maps, filters
from kilnet.inspection.layer_table import layer_table
from kilnet.inspection.passes import convolution, convolutions


@pytest.fixture(params=NETWORKS)
def classifier(request):
    return NETWORKS[request.param]()


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("conv9", {}, "`layer='conv9'`: no such convolution; did you mean conv"),
        ("fc1", {}, "`layer='fc1'`: no such convolution"),
        (0, {}, r"numbered from 1 \(conv1\) to 4 \(conv4\)"),
        ("5", {}, "`layer=5`: convolutions are numbered"),
        ("conv1", {"channel": 3}, "have channels 0 to 2"),
        ("conv1", {"channel": -1}, "`channel=-1`: the filters"),
        ("conv1", {"channel": 1, "all_kernels": True}, "exclude each other"),
    ],
)
def test_wrong_layers_and_channels_are_refused(layer, options, message):
    with pytest.raises(InputError, match=message):
        filters(config_net(), layer, **options)


def test_convolutions_are_in_the_order_in_which_they_run():
    assert [name for name, _ in convolutions(backwards())] == ["first", "middle", "last"]
    assert convolution(backwards(), "2")[0] == "middle"
    resnet = [name for name, _ in convolutions(res_net())]
    assert resnet[:3] == ["conv", "blocks.0.conv1", "blocks.0.conv2"]
    assert resnet.index("blocks.1.conv2") < resnet.index("blocks.1.shortcut.0")


def test_looking_leaves_the_network_as_it_was(classifier):
    model = classifier.model.train()
    next(iter(model.children())).eval()  # a mode of its own
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    (image,) = pictures(classifier)
    layer_table(classifier)
    filters(classifier)
    feature_maps(classifier, image)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_network_without_convolution():
    classifier = without_convolution()
    for look in (filters, lambda network: feature_maps(network, pictures(network)[0])):
        with pytest.raises(ModelError, match=r"mine:net has no torch.nn.Conv2d"):
            look(classifier)
    rows = layer_table(classifier)
    assert [(row.name, row.num_multiply_adds) for row in rows] == [("linear", 48), ("", 0)]


@pytest.mark.parametrize("shape", [(3, 15, 16), (1, 16, 16), (2, 3, 16, 16), (16, 16)])
def test_images_that_do_not_fit(shape):
    with pytest.raises(DataError):
        feature_maps(config_net(), np.zeros(shape, np.uint8))
    with pytest.raises(DataError):
        feature_maps(config_net(), np.zeros((3, 16, 16), np.float32))
