"""The benchmarks run, and both sides of each do the same work."""

import importlib.util
from pathlib import Path

import pytest
import torch

from kilnet.models import ConfigNet

PATH = Path(__file__).parents[1] / "benchmarks" / "plain_pytorch.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("plain_pytorch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["plain_training", "kilnet_training", "plain_augmentation", "kilnet_augmentation"]
)
def test_measures_images_a_second(name, benchmark, cifar10_folder):
    assert benchmark.measure(name, 1, 8, str(cifar10_folder)) > 0


def test_the_plain_network_is_the_same(benchmark):
    plain, ours = benchmark.PlainNet().eval(), ConfigNet(48, 96, 256).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(plain(images), ours(images))
