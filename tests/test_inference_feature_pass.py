"""Features computed with joined layers, against the network's own layers one after another."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn

from kilnet import hardware
from kilnet.config import ModelConfig
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.inference import feature_pass
from kilnet.inference.feature_pass import FeaturePass
from kilnet.models import build, complete, pretrained
from spoiled_fusion import spoiled

SIDE = 96
NORMALISED = Preprocessing((127 / 255,) * 3, (128 / 255,) * 3, (SIDE, SIDE))
FP32 = Settings("cpu", "fp32", "channels_last", 1)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photographs():
    """uint8 (20, 3, SIDE, SIDE): parts of scikit-learn's two photographs."""
    starts = [(top, left) for top in (50, 250) for left in range(0, 500, 110)]
    parts = [
        picture[top : top + SIDE, left : left + SIDE]
        for picture in load_sample_images().images
        for top, left in starts
    ]
    return torch.from_numpy(np.stack(parts).transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="module")
def model():
    config = complete(ModelConfig(name="EfficientNetLite"))
    network = build(config, (3, SIDE, SIDE), 2)
    pretrained.load_pretrained(network, config)
    return network.eval()


def features(model, settings, pixels):
    computed = FeaturePass(model, NORMALISED, settings, pixels)
    return np.concatenate(list(computed(pixels))).astype(np.float32)


def plain(model, settings, pixels):
    images = settings.place_images(NORMALISED(pixels))
    with torch.inference_mode(), settings.autocast():
        return model.features(images).float().numpy()


def distance(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def norms(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_photographs_have_the_features_of_the_network_itself(photographs, model, layout):
    settings = Settings("cpu", "fp32", layout, 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = plain(model, settings, photographs)
    computed = FeaturePass(model, NORMALISED, settings, photographs)
    assert not norms(computed._model)
    found = np.concatenate(list(computed(photographs)))
    assert found.shape == (20, 1280)
    assert found.dtype == np.float16
    assert distance(found.astype(np.float32), expected) < 3e-4  # half precision keeps 11 bits
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert len(norms(model)) > 40


def test_in_bf16_they_are_as_near_to_fp32_as_without_joining(photographs, model):
    settings = Settings("cpu", "bf16", "channels_last", 1)
    exact = plain(model, FP32, photographs)
    error = distance(plain(model, settings, photographs), exact)
    assert distance(features(model, settings, photographs), exact) < 1.5 * error


def test_the_number_of_threads_and_of_images_changes_no_bit(photographs, model, monkeypatch):
    found = []
    for number in (1, 2, 3):
        monkeypatch.setattr(hardware, "available_threads", lambda number=number: number)
        parts = list(FeaturePass(model, NORMALISED, FP32, photographs)(photographs))
        assert [len(part) for part in parts] == {1: [8, 8, 4], 2: [16, 4], 3: [20]}[number]
        found.append(np.concatenate(parts))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


class Plain(nn.Module):
    """Calls its layers itself."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def features(self, images):
        return self.norm(self.conv(images)).mean((2, 3))


class Peeping(nn.Module):
    """Looks at what stands between its layers."""

    def __init__(self):
        super().__init__()
        self.row, self.fc = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), nn.Linear(4, 2)

    def features(self, images):
        return self.row[0](images).mean((2, 3))


@pytest.mark.parametrize("make", [Plain, Peeping])
def test_a_network_that_cannot_be_joined_is_used_as_it_is(photographs, make):
    torch.manual_seed(0)
    network = make().eval()
    assert FeaturePass(network, NORMALISED, FP32, photographs)._model is network
    assert distance(features(network, FP32, photographs), plain(network, FP32, photographs)) < 1e-3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("change", [RuntimeError("no such kernel"), 1.0])
def test_what_fails_or_answers_otherwise_is_not_used(photographs, model, monkeypatch, change, precision):
    monkeypatch.setattr(feature_pass, "fuse_conv_bn_eval", spoiled(change))
    settings = Settings("cpu", precision, "channels_last", 1)
    assert FeaturePass(model, NORMALISED, settings, photographs)._model is model


def test_grey_images_are_seen_as_three_equal_channels(photographs, model):
    grey = photographs[:3, :1]
    computed = FeaturePass(model, Preprocessing((127 / 255,), (128 / 255,), (SIDE, SIDE)), FP32, grey)
    (found,) = computed(grey)
    assert not norms(computed._model)
    expected = plain(model, FP32, grey.expand(-1, 3, -1, -1))
    assert distance(found.astype(np.float32), expected) < 1e-3
