"""The benchmarks run, and both sides of each do the same work."""

import importlib.util
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import kilnet
from kilnet.data.dataset import ImageDataset, Split
from kilnet.models import ConfigNet
from kilnet.recipes.reading import load_config
from kilnet.runs.run import Run

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark():
    return load("plain_pytorch")


@pytest.mark.slow
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
    for ranking in load("label_errors").rankings(probabilities, random.integers(0, 4, 300)):
        assert sorted(ranking.order) == list(range(300))
        assert 0 <= ranking.num_named <= 300
        assert 0 <= ranking.share <= 1


def test_confusions_are_planted_where_a_network_is_unsure_and_become_what_it_thinks_of():
    labels = np.arange(400) % 4
    split = Split(np.zeros((400, 1, 2, 2), np.uint8), labels, tuple(map(str, range(400))))
    data = ImageDataset("plain", ("a", "b", "c", "d"), split, split, None)
    probabilities = np.zeros((400, 4))
    probabilities[np.arange(400), labels] = np.where(np.arange(400) < 200, 0.9999, 0.5)
    probabilities[np.arange(400), (labels + 1) % 4] = 1 - probabilities.max(axis=1)
    planted_data, planted = load("label_errors").plant_confusions(data, probabilities, 0.2, seed=0)
    assert planted.sum() == 80
    assert planted[200:].sum() > 75
    np.testing.assert_array_equal(planted_data.train.labels, (labels + planted) % 4)


@pytest.mark.slow
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


@pytest.mark.slow
def test_budgets_are_kept_in_processor_time(tmp_path, monkeypatch, capsys):
    words = ["budgets.py", "digits", "--budgets", "6s", "--models", "FastNet", "--out", str(tmp_path)]
    words += ["--set", "augment.horizontal_flip=0"]
    monkeypatch.setattr("sys.argv", [*words, "--recipe", "fast-digits"])
    monkeypatch.setattr("time.perf_counter", time.perf_counter)  # put back afterwards
    budgets = load("budgets")
    budgets.SETTINGS |= {"hardware.precision": "fp32", "hardware.layout": "contiguous"}  # nothing to measure
    budgets.SETTINGS |= {"hardware.device": "cpu", "model.widths": [8, 8]}
    budgets.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [cells[0].removeprefix("| ") for cells in rows] == [
        "--budget 6s",
        "FastNet, --budget 6s",
        "fast-digits, stopped at 6s",
    ]
    for cells in rows[:2]:
        assert 0.4 * 6 <= float(cells[1].split()[0]) <= 1.05 * 6
    assert float(rows[0][-1].split("%")[0]) > 30
    named = load_config(tmp_path / "FastNet-6s" / "config.toml")
    assert named.optimizer.name == "adam", "defaults, where a network is named"


@pytest.fixture(scope="module")
def faults():
    return load("published_faults")


def test_classes_of_the_last_batch_are_counted_as_by_hand(faults):
    labels = np.array([0, 1] * 50)
    right = np.ones(100, bool)
    right[labels == 1] = np.arange(50) < 25  # the earlier half
    found = faults.per_class_from_last_batch(right, labels, batch_size=30)
    assert (found.num_images, found.error, found.largest) == (10, 0.25, 0.5)  # 0 of 5, in truth 25 of 50
    assert 0 < found.mean_error < 0.25
    assert 0.9 < found.hardest_found <= 1


def test_a_mean_of_batches_is_right_where_batches_are_equal(faults):
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(60, 3)).astype(np.float32), random.integers(0, 3, 60)
    assert faults.loss_of_batches(values, labels, 20) == pytest.approx((0, 0), abs=1e-12)
    assert faults.loss_of_batches(values, labels, 50)[0] > 0.01


def test_recall_is_only_right_where_classes_are_equally_frequent(faults):
    assert faults.recall_map(np.array([[8, 2], [5, 5]])).row_sums == (1, 1)
    found = faults.recall_map(np.array([[80, 20], [5, 5]]))
    assert found.worst == (0.2, 2.0)
    assert found.row_sums == (0.55, 2.8)


def test_the_best_of_equal_networks_looks_better_than_it_is(faults):
    right = np.random.default_rng(0).random((8, 4000)) < 0.7
    mean, error, agreed = faults.optimism(right, 250)
    # The largest of eight normal deviates is 1.42 deviations above their mean (Harter 1961).
    assert mean == pytest.approx(1.42 * (0.7 * 0.3 / 250) ** 0.5, abs=4 * error)
    assert agreed == pytest.approx(1 / 8, abs=0.1)
    certain = np.stack([np.ones(100, bool), np.zeros(100, bool)])
    assert faults.optimism(certain, 50) == (0, 0, 1)


def test_dropout_left_on_gives_another_loss_each_time_and_off_those_of_kilnet(faults, colour_run):
    run = Run(colour_run)
    classifier, data = run.classifier, run.own_data()
    test = data.test
    found = faults.dropout_left_on(classifier, data.train, test)
    assert [len(set(one.losses)) for one in found.values()] == [5, 1, 1]
    values = faults.logits(
        classifier.model,
        torch.from_numpy(test.images),
        classifier.preprocessing,
        classifier.settings,
        dropout=False,
    )
    np.testing.assert_allclose(values, classifier.logits(test.images), rtol=1e-4, atol=1e-4)


def test_the_published_faults_are_repeated(faults, colour_run, capsys):
    faults.main(
        [str(colour_run), "--num-train", "60", "--epochs", "2", "--shrink", "12", "--batch-size", "16"]
    )
    printed = capsys.readouterr().out
    assert (
        printed.count("fits") == 1
    )  # the network that the published stopper sees has the first cell's widths
    assert printed.count("does not fit the network") == 7
    assert "best of 8 networks chosen on 18 test images" in printed


def test_the_plain_loop_on_photographs_sees_parts_of_them_and_counts_right_answers():
    photographs = load("photographs")
    torch.manual_seed(0)
    ramp = torch.arange(40, dtype=torch.uint8).expand(6, 3, 40, 40)
    seen = photographs._augmented(ramp)
    assert seen.shape == ramp.shape
    lows, highs = seen[:, 0, 0].min(1).values * 128 + 127, seen[:, 0, 0].max(1).values * 128 + 127
    assert (highs - lows >= 30).all()  # at least four fifths of the side
    assert {bool(image[0, 0, 0] > image[0, 0, -1]) for image in seen} == {False, True}
    answer = torch.nn.Linear(1, 1)
    answer.forward = lambda images: torch.eye(2)[1].expand(len(images), 2)
    split = Split(np.zeros((5, 3, 4, 4), np.uint8), np.array([1, 1, 1, 0, 0]), tuple("abcde"))
    assert photographs.accuracy(answer, split) == 0.6


def test_a_long_tail_falls_by_equal_factors_to_the_rarest():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5000))
    kept = load("long_tail").long_tailed(labels, most=5000, imbalance=100)
    # The counts of CIFAR-10-LT as others have published them.
    published = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert np.bincount(labels[kept]).tolist() == published
    assert kept.tolist() == sorted(set(kept.tolist()))


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_the_long_tail_runs_with_each_balance_and_writes_its_figures(tmp_path, cifar10_folder):
    lines = []
    settings = ["model.name=ConfigNet", "model.c1=2", "model.c2=2", "model.l1=4", "hardware.threads=1"]
    words = ["--most", "40", "--imbalance", "8", "--seeds", "1", "--epochs", "1", "--recipe", "tutorial-base"]
    words += [f"--set={setting}" for setting in (*settings, "hardware.precision=fp32")]
    words += ["--data-dir", str(cifar10_folder), "--out", str(tmp_path)]
    load("long_tail").main([*words, "--balance", "logits", "--balance", "sampling"], lines.append)
    assert len(lines) == 5
    _, *rows = (tmp_path / "long-tail.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["logits", "sampling"]


@pytest.mark.slow
def test_a_gpu_is_measured_cold_warm_and_beside_a_rival(tmp_path):
    rival = tmp_path / "rival.py"
    rival.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'seconds': 1000.0 + int(line), 'accuracy': 0.5}), flush=True)\n"
    )
    words = ["--recipe", "fast-digits", "--data", "digits", "--device", "cpu", "--set", "training.epochs=2"]
    words += [
        "--seeds",
        "2",
        "--cold",
        "1",
        "--rival",
        f"{sys.executable} {rival}",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [sys.executable, FOLDER / "gpu.py", *words], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("seed")] == ["seed 0", "seed 1"]
    said = "\n".join(lines)
    assert re.search(r"^rival: [\d.]+ s from its start to its first answer$", said, re.M)
    assert re.search(r"^warm, to validated weights: [\d.]+ ± [\d.]+ \(n = 2\) s, test accuracy", said, re.M)
    assert re.search(r"^warm, to the answers for the test images: [\d.]+ ± [\d.]+ \(n = 2\) s", said, re.M)
    assert re.search(r"^cold, the whole command: [\d.]+ \(n = 1\) s$", said, re.M)
    assert "rival, by its own clock: 1000.50 ± 0.71 (n = 2) s, test accuracy 50.00 ± 0.00 (n = 2)%" in said
    assert re.search(r"^Kilnet warm takes 0\.00", said, re.M)
    warm, cold = (float(re.search(rf"^{kind}, [^:]*: ([\d.]+)", said, re.M)[1]) for kind in ("warm", "cold"))
    assert cold > warm  # imports, for one
    assert not list(tmp_path.glob("runs")), "what is cold leaves nothing"
