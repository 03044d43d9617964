"""Layers, filters and feature maps of networks of every make."""

import numpy as np
import pytest
import torch
from torch import nn

from inspected import NETWORKS, backwards, config_net, pictures, res_net
from kilnet.inspection.features import feature_maps, filters
from kilnet.inspection.passes import network_input


@pytest.fixture(params=NETWORKS)
def classifier(request):
    return NETWORKS[request.param]()


def test_filters_of_one_channel_and_their_names():
    classifier = config_net()
    weights = classifier.model.conv1.weight.detach().numpy()
    grid = filters(classifier, 1, channel=2)
    np.testing.assert_array_equal(grid.weights, weights[:, 2])
    assert (grid.layer, grid.names[:2]) == ("conv1", ("0:2", "1:2"))
    assert filters(classifier).names[:2] == ("0", "1")
    assert filters(classifier, "conv2", all_kernels=True).names[3:6] == ("0:3", "1:0", "1:1")
    assert (grid.low, grid.high) == (weights.min(), weights.max())  # of the layer, not of the channel


def test_filters_that_are_all_alike():
    classifier = config_net()
    nn.init.constant_(classifier.model.conv1.weight, 0.25)
    assert (filters(classifier).pictures == 0.5).all()


def hooked(model, images):
    """The reference: what forward hooks on the convolutions see, at once and after the network has gone on."""
    at_once, later = [], []

    def keep(layer, inputs, output):
        at_once.append((names[layer], output.clone()))
        later.append(output)

    names = {layer: name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    handles = [layer.register_forward_hook(keep) for layer in names]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return at_once, later


def test_feature_maps_are_what_forward_hooks_see(classifier):
    (image,) = pictures(classifier)
    at_once, _ = hooked(classifier.model, network_input(classifier, image[None]))
    maps = feature_maps(classifier, image)
    assert [found.layer for found in maps] == [name for name, _ in at_once]
    for found, (_, expected) in zip(maps, at_once, strict=True):
        np.testing.assert_array_equal(found.output, expected[0].numpy())


def test_activated_maps_are_what_the_network_goes_on_with():
    classifier = config_net()
    (image,) = pictures(classifier)
    maps = feature_maps(classifier, image)
    for layer, before in zip(("conv2", "conv3", "conv4"), maps, strict=False):
        module = getattr(classifier.model, layer)
        with torch.no_grad():
            after = module(torch.from_numpy(before.activated)[None])[0].numpy()
        following = next(found for found in maps if found.layer == layer)
        np.testing.assert_allclose(after, following.output, atol=1e-5)
    # Kilnet's networks work in place: what the hooks' tensors hold afterwards is the activation too.
    _, later = hooked(classifier.model, network_input(classifier, image[None]))
    for found, expected in zip(maps, later, strict=True):
        assert found.activation == "relu"
        np.testing.assert_array_equal(found.activated, expected[0].numpy())


def test_activations_are_found_behind_norms_and_as_functions_and_methods():
    by_name = {found.layer: found for found in feature_maps(res_net(), pictures(res_net())[0])}
    assert by_name["conv"].activation == "relu"
    assert by_name["conv"].activated.min() == 0 > by_name["conv"].output.min()
    assert by_name["blocks.1.shortcut.0"].activation == ""
    maps = feature_maps(backwards(), pictures(backwards())[0])
    assert [(found.layer, found.activation) for found in maps] == [
        ("first", "tanh"),
        ("middle", "gelu"),
        ("middle", "relu"),
        ("last", ""),
    ]
    np.testing.assert_allclose(maps[0].activated, np.tanh(maps[0].output), rtol=1e-6)
    np.testing.assert_array_equal(maps[3].activated, maps[3].output)
