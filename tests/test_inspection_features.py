"""Layers, filters and feature maps of networks of every make."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from inspected import NETWORKS, backwards, config_net, pictures, res_net, without_convolution
from kilnet.errors import DataError, InputError, ModelError
from kilnet.figures import inspection_figures
from kilnet.figures.charts import png
from kilnet.inspection.features import feature_maps, filters
from kilnet.inspection.layer_table import layer_table
from kilnet.inspection.passes import convolution, convolutions, network_input


@pytest.fixture(params=NETWORKS)
def classifier(request):
    return NETWORKS[request.param]()


def tiles_of(figure, grid, columns):
    """Cut the saved figure into its tiles: the pixels at the middle of each weight's block."""
    saved = np.asarray(Image.open(BytesIO(png(figure, 150))).convert("RGB"))
    box = figure.axes[0].get_window_extent()
    left, top = round(box.x0), saved.shape[0] - round(box.y1)
    height, width = grid.pictures.shape[1:3]
    num_rows = -(-len(grid.pictures) // columns)
    gap = 6
    scale = (round(box.width) - gap * (columns - 1)) // (columns * width)
    assert (round(box.height) - gap * (num_rows - 1)) == num_rows * height * scale
    tiles = []
    for number in range(len(grid.pictures)):
        row, column = divmod(number, columns)
        y = top + row * (height * scale + gap) + scale // 2 + scale * np.arange(height)
        x = left + column * (width * scale + gap) + scale // 2 + scale * np.arange(width)
        tiles.append(saved[np.ix_(y, x)])
    return np.stack(tiles)


def assert_pixels_are(found, weights, low, high):
    expected = 255 * (weights.astype(np.float64) - low) / (high - low)
    assert np.abs(found - expected).max() <= 0.5 + 1e-4  # rounding to whole grey values


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (config_net, "conv1"),
        (lambda: config_net((3, 20, 20), kernel_size=5), "conv1"),
        (lambda: config_net((1, 16, 16)), "conv1"),
        (config_net, "conv4"),
        (res_net, "blocks.1.shortcut.0"),
        (backwards, "first"),
    ],
)
def test_the_saved_pictures_pixels_are_the_weights(make, layer):
    classifier = make()
    weights = dict(classifier.model.named_parameters())[f"{layer}.weight"].detach().numpy()
    low, high = weights.min(), weights.max()
    grid = filters(classifier, layer)
    found = tiles_of(inspection_figures.filters(grid, columns=3), grid, 3)
    expected = weights.transpose(0, 2, 3, 1) if weights.shape[1] == 3 else weights[:, 0, ..., None]
    assert_pixels_are(found, expected, low, high)

    every = filters(classifier, layer, all_kernels=True)
    found = tiles_of(inspection_figures.filters(every, columns=4), every, 4)
    expected = weights.reshape(-1, *weights.shape[2:], 1)
    assert_pixels_are(found, expected, low, high)


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


def test_pictures_of_feature_maps_are_drawn_for_one_layer_and_for_all():
    maps = feature_maps(backwards(), pictures(backwards())[0])
    assert len(inspection_figures.feature_maps(maps).axes) == 4
    assert len(inspection_figures.feature_maps(maps[:1], columns=2).axes) == 1
