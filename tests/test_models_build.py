import math
import sys

import pytest
import torch

from kilnet.config import ModelConfig
from kilnet.errors import ConfigError, ModelError
from kilnet.models import build, complete


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
