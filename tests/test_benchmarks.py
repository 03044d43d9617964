"""The benchmarks run, and both sides of each do the same work."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import kilnet
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


def test_inference_compares_the_same_answers(colour_run, tmp_path):
    pytest.importorskip("onnxscript")
    spec = importlib.util.spec_from_file_location("inference", PATH.with_name("inference.py"))
    inference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inference)
    run = shutil.copytree(colour_run, tmp_path / "run")
    for name in ("onnx", "int8"):
        kilnet.export(run, name, progress=False)
    compared = inference.classifiers(run, 1)
    images = np.random.default_rng(0).integers(0, 256, (70, *kilnet.load(run).image_shape), np.uint8)
    exact = compared["kilnet fp32"](images)
    for name, classify in compared.items():
        np.testing.assert_allclose(
            classify(images), exact, atol=1e-5 if "fp32" in name else 0.15, err_msg=name
        )
    speeds = inference.measure(compared, images, 2)
    assert all(len(values) == 2 and min(values) > 0 for values in speeds.values())
