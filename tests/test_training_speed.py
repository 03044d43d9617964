"""What is kept of a machine's speed: used while it is sound and the first steps of a run agree, and else measured."""

import json
from dataclasses import replace

import pytest

from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.models import FastNet
from kilnet.training import speed as speeds
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.session import TrainingSession
from kilnet.training.speed import (
    KeptSpeed,
    Speed,
    ending_seconds,
    keep_curves_seconds,
    keep_speed,
    recall_speed,
    steps_ratio,
)
from kilnet.verbs.request import requested
from made_up_machine import TINY, Machine, make_dataset

SPEED = Speed({1.0: 0.01, 0.75: 0.006, 0.5: 0.003}, 0.002, 1.5)
MONTH = 30 * 86400


@pytest.fixture
def measurements(monkeypatch):
    """The networks that were measured, whose speed is made up."""
    found = []

    def measure(config, *_):
        found.append(config.model.name)
        return SPEED

    monkeypatch.setattr("kilnet.training.plan.measure_network", measure)
    return found


def session_in(folder, machine=None, **settings):
    dataset = make_dataset(num_train=200)
    asked = TINY | {"training.averaging_epochs": 0} | settings
    config = requested(dataset, None, None, asked, None, None, None, "20s")
    times = () if machine is None else (machine.now, machine.clock)
    made = TrainingSession(dataset, config, folder, *times)
    if machine is not None:
        made.loop.model.register_forward_hook(machine.work)
    return made


def test_a_speed_is_kept_for_a_month(own_cache):
    kept = KeptSpeed(SPEED, 1_000_000.0, 1.2)
    keep_speed("this", kept)
    assert recall_speed("this", 1_000_000.0 + 0.99 * MONTH) == kept
    assert recall_speed("this", 1_000_000.0 + 1.01 * MONTH) is None, "too old"
    assert recall_speed("this", 999_999.0) is None, "measured in the future"
    assert recall_speed("other", 1_000_000.0) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"this": 3}',
        b'{"this": {"speed": {}, "measured_at": 1}}',
        KeptSpeed(replace(SPEED, image_seconds={0.5: 0.1}), 1.0),
        KeptSpeed(replace(SPEED, image_seconds={1.0: 0.1, 0.5: -1}), 1.0),
        KeptSpeed(replace(SPEED, end_seconds=float("inf")), 1.0),
        KeptSpeed(SPEED, float("nan")),
    ],
)
def test_what_is_damaged_is_not_used_and_is_replaced(content, own_cache):
    if isinstance(content, bytes):
        (own_cache / "speeds.json").write_bytes(content)
    else:
        keep_speed("this", content)
    assert recall_speed("this", 2.0) is None
    keep_speed("this", KeptSpeed(SPEED, 1.0))
    assert recall_speed("this", 2.0) == KeptSpeed(SPEED, 1.0)


def test_a_cache_that_cannot_be_written_is_not_fatal(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "file" / "cache"))
    keep_speed("this", KeptSpeed(SPEED, 1.0))
    keep_curves_seconds(0.5)
    assert recall_speed("this", 2.0) is None
    assert ending_seconds() == 2.0


def test_a_second_run_measures_nothing_and_trains_on_from_its_first_steps(tmp_path, measurements):
    first = session_in(tmp_path / "a")
    assert measurements == ["FastNet"]
    assert not first.basis.is_kept
    second = session_in(tmp_path / "b")
    assert measurements == ["FastNet"]
    assert second.basis.is_kept
    assert second.config.model_dump() == first.config.model_dump()
    assert not (tmp_path / "b").exists(), "nothing is written before it begins"
    numbers = []
    for record in second:
        assert (tmp_path / "b" / "config.toml").exists()
        if isinstance(record, StepRecord):
            numbers.append((record.epoch, record.step))
        if len(numbers) == 8:
            break
    assert numbers == [(1, step) for step in range(1, 9)]


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "another processor"},
        {"torch": "9.9"},
        {"settings": {"model.widths": [4, 5]}},
        {"settings": {"hardware.threads": 2}},
        {"settings": {"optimizer.lr": 0.5}},
    ],
)
def test_another_machine_or_network_is_measured(change, tmp_path, measurements, monkeypatch):
    session_in(tmp_path / "a")
    if "machine" in change:
        monkeypatch.setattr("kilnet.hardware.machine", lambda *_: change["machine"])
    if "torch" in change:
        monkeypatch.setattr("torch.__version__", change["torch"])
    assert not session_in(tmp_path / "b", **change.get("settings", {})).basis.is_kept
    assert len(measurements) == 2


def test_first_steps_that_disagree_are_measured_again_and_the_run_begins_again(tmp_path, measurements):
    session_in(tmp_path / "a")
    second = session_in(tmp_path / "b")
    ratio = second._ratio_of_first_steps(second.basis)
    assert ratio is not None
    for factor in (20.0, 1 / 20):
        measurements.clear()
        keep_speed(second.basis.key, replace(second.basis.kept, steps_ratio=factor * ratio))
        third = session_in(tmp_path / "c")
        assert measurements == ["FastNet"]
        assert not third.basis.is_kept
        assert recall_speed(second.basis.key).steps_ratio is None
        first = next(record for record in third if isinstance(record, StepRecord))
        assert (first.epoch, first.step) == (1, 1)
        for path in sorted((tmp_path / "c").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()


def test_what_the_end_takes_is_kept_of_a_run_and_its_resumed_part_has_its_plan(tmp_path, measurements):
    machine = Machine()
    first = session_in(tmp_path / "a", machine)
    assert first.plan.end_seconds == SPEED.end_seconds
    records = list(first)
    kept = recall_speed(first.basis.key)
    spent = [0.25 * 60 / 25, 0.25 * 260 / 25]  # of validating, without and with images for batch norm
    assert spent[0] - 0.01 <= kept.speed.end_seconds <= spent[1] + 0.01
    second = session_in(tmp_path / "b", machine)
    assert second.plan.end_seconds == kept.speed.end_seconds
    for record in second:
        if isinstance(record, EpochRecord):
            break
    third = session_in(tmp_path / "b", machine)
    assert third.plan == second.plan
    assert third.basis is None
    assert isinstance(records[-1], EpochRecord)
    assert len(measurements) == 1


@pytest.mark.parametrize("asked", ["auto", "torch", "product"])
def test_a_budget_computes_the_gradient_of_filters_as_asked_or_as_measured(asked, tmp_path, monkeypatch):
    def measure(config, model, settings, *_):
        kind = "product" if config.hardware.weight_gradient == "auto" else settings.weight_gradient
        return replace(SPEED, weight_gradient=kind)

    monkeypatch.setattr("kilnet.training.plan.measure_network", measure)
    session_in(tmp_path / "a")  # which keeps what is measured where nothing is asked for
    found = session_in(tmp_path / "b", **{"hardware.weight_gradient": asked})
    chosen = "product" if asked == "auto" else asked
    assert found.config.hardware.weight_gradient == found.settings.weight_gradient == chosen
    hooks = [hasattr(part, "convolve") and "convolve" in vars(part) for part in found.loop.model.modules()]
    assert any(hooks) == (chosen == "product")


def test_without_a_budget_the_gradient_of_filters_is_torchs_and_a_record_repeats_it(tmp_path):
    dataset = make_dataset(num_train=40)
    config = requested(dataset, "FastNet", None, TINY, 1, None, None)
    assert TrainingSession(dataset, config, tmp_path / "a").config.hardware.weight_gradient == "torch"
    config = requested(
        dataset, "FastNet", None, TINY | {"hardware.weight_gradient": "product"}, 1, None, None
    )
    session = TrainingSession(dataset, config, tmp_path / "b")
    list(session)
    weights = {name: (tmp_path / name / "weights.safetensors") for name in "bc"}
    again = session.config
    assert again.hardware.weight_gradient == "product"
    list(TrainingSession(dataset, again, tmp_path / "c"))
    assert weights["b"].read_bytes() == weights["c"].read_bytes()


def test_the_faster_gradient_is_measured():
    dataset = make_dataset(num_train=40)
    config = requested(dataset, "FastNet", None, TINY, 1, None, None)
    settings = Settings("cpu", "fp32", "contiguous", 1)
    model = FastNet((4, 4), image_shape=dataset.image_shape, num_classes=3)
    found = speeds.measure_network(config, model, settings, dataset, Preprocessing.fit(dataset))
    assert found.weight_gradient in ("torch", "product")
    assert not any("convolve" in vars(part) for part in model.modules()), "the network is as it was"
    asked = config.model_copy(
        update={"hardware": config.hardware.model_copy(update={"weight_gradient": "torch"})}
    )
    assert (
        speeds.measure_network(asked, model, settings, dataset, Preprocessing.fit(dataset)).weight_gradient
        == "torch"
    )


def test_the_ratio_is_of_the_median_step_at_the_first_resolution():
    training = requested(
        "digits", "FastNet", None, TINY | {"training.batch_size": 25}, 1, None, None
    ).training
    assert steps_ratio(SPEED, training, 200, [9.0, 0.2, 0.252]) is None, "too few"
    assert steps_ratio(SPEED, training, 200, [9.0, 0.2, 0.504, 7.0]) == pytest.approx(2.0)
    low = training.model_copy(update={"low_resolution": ((0.3, 0.5),)})
    assert steps_ratio(SPEED, low, 200, [9.0, 0.077, 0.077, 0.077]) == pytest.approx(1.0)
    other = training.model_copy(update={"low_resolution": ((0.3, 0.6),)})
    assert steps_ratio(SPEED, other, 200, [9.0, 0.1, 0.1, 0.1]) is None, "which was not measured"


@pytest.mark.parametrize(
    ("ratio", "agrees"), [(None, True), (1.0, True), (1.4, True), (0.7, True), (1.6, False), (0.6, False)]
)
def test_half_as_long_again_is_the_limit(ratio, agrees):
    assert KeptSpeed(SPEED, 1.0, 1.0).agrees(ratio) is agrees
    assert KeptSpeed(SPEED, 1.0).agrees(ratio)


def test_the_reserve_follows_from_how_long_the_curves_took(own_cache):
    assert ending_seconds() == 2.0
    keep_curves_seconds(0.5)
    assert ending_seconds() == pytest.approx(1.3)
    for wrong in ("x", -1.0, 1e9, None):
        (own_cache / "speeds.json").write_text(json.dumps({speeds._curves_key(): wrong}))
        assert ending_seconds() == 2.0
