import json
import shutil

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax
from torch.nn import functional as F

import kilnet
from kilnet.data.sources import load_dataset
from kilnet.errors import RunFolderError
from kilnet.inference.calibration import fit_scale, fit_temperature, sure_threshold
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.logits import LogitScale
from kilnet.recipes.reading import load_config
from kilnet.runs.evaluation import read_calibration
from kilnet.runs.run import Run
from kilnet.storage import sealed, unsealed
from kilnet.training.run_folder import RunFolder

RANDOM = np.random.default_rng(0)


def drawn(temperature, num_images=4000, num_classes=5):
    """Logits of a network that is right as often as softmax(logits / temperature) says."""
    logits = RANDOM.normal(0, 2, (num_images, num_classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (probabilities.cumsum(1) > RANDOM.random((num_images, 1))).argmax(1)
    return (logits * temperature).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_temperature_is_found_again_and_is_the_optimisers(temperature):
    logits, labels = drawn(temperature)
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(temperature, rel=0.1)

    def loss(t):
        return F.cross_entropy(torch.from_numpy(logits).double() / t, torch.from_numpy(labels)).item()

    reference = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8})
    assert fitted == pytest.approx(reference.x, rel=1e-5)
    logged = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logged], line_search_fn="strong_wolfe", max_iter=100, tolerance_grad=1e-12)

    def closure():
        optimiser.zero_grad()
        value = F.cross_entropy(torch.from_numpy(logits).double() / logged.exp(), torch.from_numpy(labels))
        value.backward()
        return value

    optimiser.step(closure)
    assert fitted == pytest.approx(logged.exp().item(), rel=1e-5)


def test_temperature_mends_the_calibration_error():
    logits, labels = drawn(3.0)
    fitted = fit_temperature(logits, labels)
    names = tuple("abcde")
    before = Evaluation.from_logits("v", names, logits, labels)
    after = Evaluation.from_logits("v", names, logits / fitted, labels)
    assert before.calibration_error > 0.15
    assert after.calibration_error < 0.03
    assert after.loss < before.loss
    np.testing.assert_array_equal(after.confusion, before.confusion)


@pytest.mark.parametrize("power", [0.7, 1.4])
def test_a_power_is_found_again_and_is_the_optimisers(power):
    logits, labels = drawn(1.0)
    exact = logits.astype(float) - logits.mean(1, keepdims=True)
    bent = 1.5 * np.sign(exact) * np.abs(exact) ** (1 / power)
    scale = fit_scale(bent, labels)
    assert scale.power == pytest.approx(power, rel=0.1)

    centred = bent - bent.mean(1, keepdims=True)

    def loss(logs):
        scaled = np.sign(centred) * np.abs(centred) ** np.exp(logs[0]) / np.exp(logs[1])
        return -log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean()

    reference = minimize(loss, [0.0, 0.0], method="Nelder-Mead")
    np.testing.assert_allclose([scale.power, scale.temperature], np.exp(reference.x), rtol=1e-3)


def test_a_power_needs_images_that_bear_it_out():
    logits, labels = drawn(2.0)
    assert fit_scale(logits, labels) == LogitScale(fit_temperature(logits, labels))
    bent = np.sign(logits) * np.abs(logits) ** 0.9
    assert fit_scale(bent[:60], labels[:60]).power == 1
    assert fit_scale(logits, logits.argmax(1)) == LogitScale()  # all are right


def test_temperature_where_the_images_cannot_tell():
    labels = np.array([0, 1, 0])
    right = np.array([[5.0, 0.0], [0.0, 3.0], [1.0, 0.9]])
    assert fit_temperature(right, labels) == 1.0
    assert fit_temperature(-right, labels) == 10.0  # worse than chance: as unsure as it may be
    assert fit_temperature(np.array([[0.1, 0.0], [0.0, 0.1], [0.0, 1e-4]]), labels) == 0.1
    assert fit_temperature(1e4 * right, np.array([0, 1, 1])) == 10.0  # no overflow


def by_hand(confidence, correct, target):
    enough = [t for t in confidence if correct[confidence >= t].mean() >= target]
    return min(enough) if enough else None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
def test_threshold_is_the_lowest_that_keeps_the_target(seed, target):
    random = np.random.default_rng(seed)
    confidence = random.integers(1, 12, 40) / 12  # many are equal
    correct = random.random(40) < confidence
    assert sure_threshold(confidence, correct, target) == by_hand(confidence, correct, target)


def test_threshold_that_nothing_reaches():
    assert sure_threshold(np.array([0.9, 0.8]), np.array([False, True]), 0.95) is None


@pytest.fixture
def run(colour_run, tmp_path):
    return RunFolder(shutil.copytree(colour_run, tmp_path / "run"))


def dataset_of(run):
    return load_dataset(load_config(run.config_path).data)


def test_training_calibrates_on_the_validation_images(run):
    kept = read_calibration(run)
    dataset = dataset_of(run)
    logits = Run(run.path).classifier.logits(dataset.validation.images)
    labels = dataset.validation.labels
    assert kept.scale == fit_scale(logits, labels)
    scaled = kept.scale(logits)
    after = Evaluation.from_logits("validation", dataset.classes, scaled, labels)
    assert (kept.loss_after, kept.calibration_error_after) == (after.loss, after.calibration_error)
    assert kept.loss_after <= kept.loss_before
    assert kept.data == dataset.fingerprint
    confidence = np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)
    sure = confidence.max(1) >= kept.threshold - 1e-9
    assert (kept.num_sure, kept.num_sure_correct) == (sure.sum(), (sure & (logits.argmax(1) == labels)).sum())
    assert kept.num_sure_correct / kept.num_sure >= 0.95


def test_a_run_without_calibration_gets_one_by_evaluation_and_not_on_test_images(run):
    kept = read_calibration(run)
    run.calibration_path.unlink()
    assert read_calibration(run) is None
    kilnet.evaluate(run.path, "validation", progress=False)
    assert read_calibration(run) == kept


def test_calibration_of_other_weights_does_not_count(run):
    dataset = dataset_of(run)
    content = json.loads(run.calibration_path.read_text())
    other = {**unsealed(content), "weights": "0" * 64, "temperature": 9.0}
    run.calibration_path.write_text(json.dumps(sealed(other)))
    assert read_calibration(run) is None
    assert Run(run.path).calibrate(dataset).temperature == content["temperature"]
    assert json.loads(run.calibration_path.read_text()) == content


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.0},
        {"temperature": "1"},
        {"power": -1.0},
        {"threshold": 3.0},
        {"weights": None},
        None,
    ],
)
def test_damaged_calibration_is_refused_with_what_to_do(run, change):
    content = unsealed(json.loads(run.calibration_path.read_text()))
    if change and None in change.values():
        content = {}
    elif change:
        content |= change
    run.calibration_path.write_text(json.dumps(content) if change else "{")
    with pytest.raises(RunFolderError, match="delete it"):
        read_calibration(run)
