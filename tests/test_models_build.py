import math
import sys

import pytest
import torch
from torch import nn

from kilnet.config import ModelConfig
from kilnet.errors import ConfigError, ModelError
from kilnet.models import ConfigNet, ConvNet, ResNet, build, complete


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


def test_resnet_20_has_the_number_of_parameters_of_its_definition():
    def block(c_in, c_out):
        shortcut = c_in * c_out + 2 * c_out if c_in != c_out else 0
        return 9 * c_in * c_out + 9 * c_out * c_out + 4 * c_out + shortcut

    stages = (
        [block(16, 16)] * 3 + [block(16, 32)] + [block(32, 32)] * 2 + [block(32, 64)] + [block(64, 64)] * 2
    )
    by_hand = 27 * 16 + 32 + sum(stages) + 65 * 10
    assert by_hand == 272_474
    assert count(ResNet()) == by_hand


@pytest.mark.parametrize("depth", [8, 14, 20, 32])
def test_resnet_depth_counts_the_layers_of_the_main_path(depth):
    model = ResNet(depth, width=2)
    layers = [
        m
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(layers) == depth


def test_resnet_quarters_the_resolution_and_takes_any_size():
    model = ResNet(8, 4, image_shape=(1, 32, 32), num_classes=5).eval()
    sizes = []
    for block in model.blocks:
        block.register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 1, 32, 32))
    assert sizes == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]
    assert model(torch.zeros(2, 1, 7, 1)).shape == (2, 5)


@pytest.mark.parametrize(("option", "value"), [("depth", 9), ("depth", 2), ("depth", -4), ("width", 0)])
def test_resnet_refuses_what_is_no_resnet(option, value):
    with pytest.raises(ModelError, match=rf"model\.{option} = {value}"):
        build(ModelConfig(name="ResNet", **{option: value}), (3, 32, 32), 10)


def test_complete_writes_every_option_down_under_the_tables_name():
    assert complete(ModelConfig(name="confignet", c2=7)) == ModelConfig(
        name="ConfigNet", c1=48, c2=7, l1=256, d1=0.1, kernel_size=3
    )
    once = complete(ModelConfig(name="RESNET"))
    assert complete(once) == once == ModelConfig(name="ResNet", depth=20, width=16)


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"name": "ConfigNet", "c3": 4}, "did you mean model.c"),
        ({"name": "ConfigNet", "kernel": 5}, "did you mean model.kernel_size?"),
        ({"name": "ConvNet", "c1": 4}, "ConvNet has no options"),
        ({"name": "ConfigNet", "image_shape": 4}, "unknown key model.image_shape"),
        ({"name": "ConfigNet", "c1": "many"}, "must be of type int"),
        ({"name": "ConfigNet", "c1": 4.5}, "must be of type int"),
        ({"name": "ConfigNet", "c1": True}, "must be of type int"),
        ({"name": "ConfigNet", "d1": "none"}, "must be of type float"),
    ],
)
def test_wrong_options_are_refused_by_key(config, part):
    with pytest.raises(ConfigError) as caught:
        complete(ModelConfig(**config))
    assert part in str(caught.value)


def test_whole_numbers_are_floats_where_floats_are_meant():
    option = complete(ModelConfig(name="ConfigNet", d1=0)).options["d1"]
    assert isinstance(option, float)


def test_unknown_model_names_the_nearest():
    with pytest.raises(ModelError, match="did you mean ConfigNet"):
        complete(ModelConfig(name="ConfgNet"))


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the caller's own, which Python can import."""
    (tmp_path / "own_nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def net(image_shape, num_classes, widths=(8, 16), scale=1.5, activation=nn.ReLU, norm=None):\n"
        "    c, h, w = image_shape\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, widths[0]), activation(),\n"
        "                         nn.Linear(widths[0], num_classes))\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self, image_shape, num_classes):\n"
        "        super().__init__(image_shape[0] * image_shape[1] * image_shape[2], num_classes)\n"
        "    def forward(self, images):\n"
        "        return super().forward(images.flatten(1))\n"
        "def anything(image_shape, num_classes, **options):\n"
        "    return net(image_shape, num_classes, **options)\n"
        "def wrong_shape(image_shape, num_classes):\n"
        "    return net(image_shape, num_classes + 1)\n"
        "def no_tensor(image_shape, num_classes):\n"
        "    class Pair(nn.Module):\n"
        "        def forward(self, images):\n"
        "            return images, images\n"
        "    return Pair()\n"
        "def raising(image_shape, num_classes):\n"
        "    raise RuntimeError('out of clay\\nsecond line')\n"
        "def needs_more(image_shape, num_classes, width):\n"
        "    return net(image_shape, num_classes, (width,))\n"
        "number = 3\n"
    )
    (tmp_path / "broken_nets.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_nets", None)


def build_own(config, *rest):
    return build(config, *rest, {config.name})


@pytest.mark.usefixtures("own_module")
class TestOwnNetworks:
    def test_they_are_imported_only_when_the_caller_names_them(self):
        config = ModelConfig(name="own_nets:net")
        for named in (set(), {"own_nets:Net"}, {"own_nets"}):
            with pytest.raises(ModelError, match="name it: `model='own_nets:net'`"):
                complete(config, named)
            with pytest.raises(ModelError, match="name it: `model='own_nets:net'`"):
                build(config, (1, 2, 2), 2, named)
        assert "own_nets" not in sys.modules

    def test_function_and_class_build_networks(self):
        for name in ("own_nets:net", "own_nets:Net", "own_nets:anything"):
            model = build_own(ModelConfig(name=name), (3, 4, 5), 6)
            assert model(torch.zeros(2, 3, 4, 5)).shape == (2, 6)

    def test_options_are_what_a_toml_file_can_hold(self):
        own = {"own_nets:net"}
        config = complete(ModelConfig(name="own_nets:net", scale=2), own)
        assert config.options == {"widths": [8, 16], "scale": 2.0}
        assert complete(config, own) == config  # as read back from config.toml
        assert complete(ModelConfig(name="own_nets:net", widths=(8, 16), scale=2), own) == config
        assert build_own(ModelConfig(name="own_nets:net", widths=[5]), (1, 2, 2), 2)[1].out_features == 5

    def test_option_without_a_default_has_to_be_given(self):
        with pytest.raises(ModelError, match="width"):
            build_own(ModelConfig(name="own_nets:needs_more"), (3, 4, 4), 2)
        build_own(ModelConfig(name="own_nets:needs_more", width=3), (3, 4, 4), 2)

    @pytest.mark.parametrize(
        ("config", "part"),
        [
            ({"name": "own_nets:wrong_shape"}, r"returns (2, 3) for 2 images; it must return (2, 2) logits"),
            ({"name": "own_nets:no_tensor"}, "returns tuple for 2 images"),
            ({"name": "own_nets:raising"}, "RuntimeError: out of clay"),
            ({"name": "own_nets:number"}, "is a int, not a function"),
            ({"name": "own_nets:nothing"}, "no attribute 'nothing'"),
            ({"name": "own_nets:"}, "cannot be imported"),
            ({"name": ":net"}, "cannot be imported"),
            ({"name": "no_such_module:net"}, "No module named 'no_such_module'"),
            ({"name": "broken_nets:net"}, "ZeroDivisionError"),
            ({"name": "builtins:dict"}, "options are not known"),
            ({"name": "own_nets:net", "width": [1]}, "did you mean model.widths?"),
            ({"name": "own_nets:net", "widths": 8}, "must be of type list"),
        ],
    )
    def test_mistakes_are_one_line(self, config, part):
        with pytest.raises((ModelError, ConfigError)) as caught:
            build_own(ModelConfig(**config), (1, 2, 2), 2)
        assert part in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_weights_follow_torchs_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return build(ModelConfig(c1=2, c2=2, l1=2), (1, 9, 9), 2).conv1.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_fresh_networks_are_not_blind():
    torch.manual_seed(0)
    for name in ("ConvNet", "ConfigNet", "ResNet", "FastNet"):
        logits = build(ModelConfig(name=name), (3, 32, 32), 10)(torch.randn(16, 3, 32, 32)).detach()
        assert logits.std(0).min() > 0.005
        assert math.isfinite(float(logits.sum()))
