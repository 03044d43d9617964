"""The benchmarks that time whole trainings: on the digits, and beside a rival that is made up."""

import json
import sys
import time

import pytest

import airbench
import parts
import time_to_accuracy
import timed_run
from kilnet.data.sources import load_dataset
from kilnet.recipes.reading import load_config
from kilnet.training.run_folder import RunFolder
from kilnet.training.session import TrainingSession

FAST_DIGITS = "fast-digits"
RIVAL = """
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
parser.add_argument("--batches", type=int)
options = parser.parse_args()
print("training")
print(json.dumps({"step_seconds": 0.5, "step_cpu_seconds": 0.4, "seconds": 10.0 + options.seed, "accuracy": 0.9}))
"""


@pytest.fixture
def rival(tmp_path):
    (tmp_path / "rival.py").write_text(RIVAL)
    return f"{sys.executable} {tmp_path / 'rival.py'}"


def run_main(module, monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, words)])
    module.main()
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def digits():
    settings = {"data.source": "digits", "data.num_train": 600, "hardware.layout": "contiguous"}
    config = load_config(FAST_DIGITS, settings)
    return load_dataset(config.data), config


@pytest.mark.slow
def test_a_timed_run_ends_where_validation_says_and_reads_the_test_split_once(digits, tmp_path):
    folder, (dataset, config) = RunFolder(tmp_path / "run"), digits
    run = timed_run.timed_run(dataset, config, folder.path, until=0.9)
    history = folder.history()
    assert run.num_epochs == len(history) < config.training.epochs
    assert [record.validation_accuracy >= 0.9 for record in history] == [False] * (len(history) - 1) + [True]
    assert run.validation_accuracy == history[-1].validation_accuracy
    assert run.seconds > sum(row["seconds"] for row in folder.timings())
    assert timed_run.timed_run(dataset, config, folder.path, until=0.9) == run
    evaluation = json.loads((folder.path / "evaluation.json").read_text())["test"]
    assert (run.test_accuracy, run.num_test) == (evaluation["accuracy"], len(dataset.test))
    assert evaluation["num_reads"] == 1

    # Gone on with, it counts the seconds that led to the state.
    (folder.path / "timed_run.json").unlink()
    (folder.path / "clock.json").write_text('{"seconds": 1000}')
    longer = timed_run.timed_run(dataset, config, folder.path)
    assert longer.num_epochs == config.training.epochs
    assert 1000 < longer.seconds < 1000 + 60


def test_floating_point_operations_are_those_of_the_layers(digits):
    dataset, config = digits
    settings = {"training": {"epochs": 2, "batch_size": 300, "batch_norm_images": 50}}
    settings["training"]["low_resolution"] = [[0.5, 0.75]]  # the first epoch
    config = config.model_validate(config.model_dump() | settings)

    def layers(side):
        """Multiplications and additions by layer: 16, 32 and 32 channels behind 8 whitened ones."""
        yield side**2 * 8 * 1 * 4
        inputs = 8
        for width in (16, 32, 32):
            yield (side // 2 * 2) ** 2 * width * inputs * 9  # not what pooling drops
            side //= 2
            yield side**2 * width * width * 9
            inputs = width
        yield 32 * 10

    def forward(side):
        return 2 * sum(layers(side - 1))

    def training(side, learns_biases):
        # Backward, each layer's weights and inputs have a product more. The whitening's filters are frozen and images
        # need no gradient; without its biases, neither do the inputs of the first layer that learns.
        whitening, first, *_ = layers(side - 1)
        return 3 * forward(side) - 2 * (2 * whitening + (0 if learns_biases else first))

    num_train, num_validation = len(dataset.train), len(dataset.validation)
    expected = num_train * (training(12, True) + training(16, False))
    expected += 2 * (50 + num_validation) * forward(16)
    assert timed_run.num_flops(dataset, config, 2) == expected


SETTINGS = ["data.num_train=256", "training.epochs=1", "hardware.layout=contiguous"]
SET = [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.mark.slow
def test_time_to_accuracy_tells_what_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        time_to_accuracy,
        "PLAN",
        {50.0: {"fast": ("fast-digits", 1, ())}},
    )
    words = ["--targets", 50, "--recipes", "fast", "--seeds", 1, "--out", tmp_path, *SET]
    output = run_main(time_to_accuracy, monkeypatch, capsys, *words, "--set", "data.source=digits")
    run = json.loads((tmp_path / "50.0" / "fast-0" / "timed_run.json").read_text())
    assert "50.0% fast (fast-digits, 1 epochs, 1.0 trained)" in output
    assert f"{run['seconds']:.1f} (n = 1) s, test accuracy {100 * run['test_accuracy']:.2f}" in output


def test_ratios_of_time_to_accuracy():
    def run(seconds, accuracy):
        return {
            "seconds": seconds,
            "test_seconds": 2.0,
            "num_epochs": 2,
            "test_accuracy": accuracy,
            "teraflop": 10.0,
            "matmul_gflops": 400.0,
        }

    fast, tutorial = [run(90.0, 0.79), run(110.0, 0.77)], [run(1000.0, 0.775)]
    lines = time_to_accuracy.report({(77.6, "fast"): fast, (77.6, "tutorial"): tutorial}, [270.0, 288.0])
    text = "\n".join(lines)
    assert "100.0 ± 14.1 (n = 2) s, test accuracy 78.00 ± 1.41 (n = 2)%, reached" in text
    assert "1000.0 (n = 1) s, test accuracy 77.50 (n = 1)%, NOT REACHED" in text
    assert "at 101 ± 14 (n = 2) GFLOP/s, 25% of a matrix product" in text
    assert "tutorial takes 10.0 times as long as fast" in text
    assert "plain takes 50.0 times as long as fast (extrapolated)" in text  # 31 * 45,000 / 279 = 5,000 s


def test_airbench_compares_in_turn(rival, tmp_path, monkeypatch, capsys):
    words = [rival, "--recipe", FAST_DIGITS, "--seeds", 2, "--out", tmp_path / "out"]
    run = {
        "seconds": 5.0,
        "test_seconds": 1.0,
        "num_epochs": 1,
        "validation_accuracy": 0.7,
        "test_accuracy": 0.75,
        "teraflop": 1.0,
        "matmul_gflops": 400.0,
        "step_seconds": 0.25,
        "step_cpu_seconds": 0.2,
    }

    def run_json(command):
        return dict(run) if FAST_DIGITS in command else real(command)

    real = airbench.run_json
    monkeypatch.setattr(airbench, "run_json", run_json)
    output = run_main(airbench, monkeypatch, capsys, *words, "--steps", 2)
    assert "rival 0.50 ± 0.00 (n = 2); ratio 0.500 ± 0.000 (n = 2)" in output
    assert "of the processor: Kilnet 0.20 ± 0.00 (n = 2), rival 0.40" in output
    output = run_main(airbench, monkeypatch, capsys, *words)
    assert "200 GFLOP/s: 50% of a matrix product" in output
    assert "the rival's test accuracy: 90.00 ± 0.00 (n = 2)%" in output
    assert "Kilnet 6.00 ± 0.00 (n = 2), rival 10.50 ± 0.71 (n = 2); ratio 0.573 ± 0.039" in output
    output = run_main(airbench, monkeypatch, capsys, *words, "--rivals", 1)
    assert "Kilnet's test accuracy: 75.00 ± 0.00 (n = 2)%" in output
    assert "Kilnet 6.00 (n = 1), rival 10.00 (n = 1); ratio 0.600 (n = 1)" in output
    output = run_main(airbench, monkeypatch, capsys, *words, "--first-seed", 5)
    assert [f"seed {n}: rival 1{n}.0 s" in output for n in (4, 5, 6, 7)] == [False, True, True, False]


def test_steps_are_timed(digits):
    assert min(timed_run.step_seconds(*digits, 2).values()) > 0


def test_parts_add_up_to_the_whole(digits, tmp_path):
    dataset, config = digits
    config = config.model_validate(config.model_dump() | {"training": {"epochs": 2, "averaging_epochs": 0.5}})
    session = TrainingSession(dataset, config, tmp_path / "run")
    start = time.perf_counter()
    seconds = parts.seconds_by_part(session)
    assert sum(seconds.values()) == pytest.approx(time.perf_counter() - start, rel=0.05)
    assert set(seconds) == {*parts.PARTS, "the loop itself"}
    assert max(seconds, key=seconds.__getitem__) == "forward and backward pass"
    table = parts.profiled_step(TrainingSession(dataset, config, tmp_path / "another"), 10)
    assert "aten::" in table
