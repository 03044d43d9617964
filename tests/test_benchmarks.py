"""The benchmarks run, and both sides of each do the same work."""

import importlib.util
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import kilnet
from kilnet.data.dataset import ImageDataset, Split
from kilnet.models import ConfigNet

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark():
    return load("plain_pytorch")


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


def test_planted_labels_are_so_many_and_never_the_true_ones():
    labels = np.arange(400) % 4
    split = Split(np.zeros((400, 1, 2, 2), np.uint8), labels, tuple(map(str, range(400))))
    data = ImageDataset("plain", ("a", "b", "c", "d"), split, split, None)
    planted_data, planted = load("label_errors").plant(data, 0.05, seed=0)
    assert planted.sum() == 20
    np.testing.assert_array_equal(planted_data.train.labels != labels, planted)
    assert set(planted_data.train.labels) == {0, 1, 2, 3}
    np.testing.assert_array_equal(data.train.labels, labels)


def test_every_ranking_of_labels_has_all_images():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(4, 0.3), 300)
    for _, ranking in load("label_errors").rankings(probabilities, random.integers(0, 4, 300)):
        assert sorted(ranking) == list(range(300))


def test_inference_compares_the_same_answers(colour_run, tmp_path):
    pytest.importorskip("onnxscript")
    inference = load("inference")
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


def test_a_recipe_is_stopped_at_each_moment_and_trained_no_longer():
    taken = []

    def course():
        for second in (10, 20, 30, 40, 50):
            taken.append(second)
            yield second, 0, f"record at {second}"

    points = load("budgets").stopped_at([5, 20, 35], course())
    assert [point and point[2] for point in points] == [None, "record at 20", "record at 30"]
    assert taken == [10, 20, 30, 40]


def test_budgets_are_kept_in_processor_time(tmp_path, monkeypatch, capsys):
    words = ["budgets.py", "digits", "--budgets", "6s", "--out", str(tmp_path)]
    recipe = Path(__file__).parents[1] / "recipes" / "fast-digits.toml"
    monkeypatch.setattr("sys.argv", [*words, "--recipe", str(recipe)])
    monkeypatch.setattr("time.perf_counter", time.perf_counter)  # put back afterwards
    budgets = load("budgets")
    budgets.SETTINGS |= {"hardware.precision": "fp32", "hardware.layout": "contiguous"}  # nothing to measure
    budgets.SETTINGS |= {"hardware.device": "cpu", "model.widths": [8, 8]}
    budgets.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [cells[0].removeprefix("| ") for cells in rows] == [
        "--budget 6s",
        "fast-digits, stopped at 6s",
    ]
    assert 0.4 * 6 <= float(rows[0][1].split()[0]) <= 1.05 * 6
    assert float(rows[0][-1].split("%")[0]) > 30
