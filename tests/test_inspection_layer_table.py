"""What the layers of a network cost."""

import pytest
from torch import nn

from inspected import NETWORKS, config_net, pictures
from kilnet.inspection.layer_table import layer_table
from kilnet.inspection.passes import network_input


@pytest.fixture(params=NETWORKS)
def classifier(request):
    return NETWORKS[request.param]()


def test_layers_of_a_network_counted_by_hand():
    rows = {row.name: row for row in layer_table(config_net((3, 16, 16)))}
    assert list(rows) == [
        *("conv1", "conv2", "dropout1", "conv3", "conv4", "dropout2", "batch_norm", "fc1", "fc2", ""),
    ]
    conv = rows["conv3"]
    # Of 16x16 pixels 15x15 are looked at: the stride passes over what the last row and column lead to.
    assert (conv.kind, conv.input_shape, conv.output_shape) == ("Conv2d", (4, 11, 11), (6, 9, 9))
    assert conv.num_parameters == 6 * 4 * 9 + 6
    assert conv.num_multiply_adds == 6 * 9 * 9 * 4 * 9
    assert rows["conv4"].num_multiply_adds == 6 * 4 * 4 * 6 * 9  # stride 2
    assert rows["fc1"].num_multiply_adds == 96 * 8
    assert rows["batch_norm"].num_parameters == 2 * 96
    assert rows["conv1"].milliseconds > 0


def test_layers_together_are_the_whole_network(classifier):
    rows = layer_table(classifier)
    used = {id(p) for p in classifier.model.parameters()}
    if hasattr(classifier.model, "unused"):
        used -= {id(p) for p in classifier.model.unused.parameters()}
    total = sum(p.numel() for p in classifier.model.parameters() if id(p) in used)
    assert sum(row.num_parameters for row in rows) == total
    num_multiply_adds = 0

    def count(layer, inputs, output):
        nonlocal num_multiply_adds
        weights = layer.weight.numel() // layer.weight.shape[0]
        num_multiply_adds += output.numel() * weights

    layers = [m for m in classifier.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    classifier.model(network_input(classifier, pictures(classifier)))
    for handle in handles:
        handle.remove()
    assert sum(row.num_multiply_adds for row in rows) == num_multiply_adds
