"""Runs that keep to a time: by a clock that the work itself moves, and by the real one."""

import functools
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import kilnet
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ConfigError
from kilnet.hardware import Settings
from kilnet.models import FastNet
from kilnet.recipes.reading import load_config, parse_duration, written_duration
from kilnet.training.loop import TrainingLoop
from kilnet.training.plan import Speed, make_plan
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.run_folder import RunFolder
from kilnet.training.schedule import BudgetSchedule
from kilnet.training.session import TrainingSession
from kilnet.verbs.request import requested

SETTINGS = Settings("cpu", "fp32", "contiguous", 1)
HARDWARE = {
    "hardware.device": "cpu",
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}
TINY = HARDWARE | {"model.widths": [4, 4], "training.batch_size": 20}
SIDE = 12
STEP = 1.0  # seconds of a step of 25 images at full size, by the made-up clock
VALIDATION = 0.9  # 60 images, and 30 for batch norm, at a quarter of a step's price


def make_dataset(num_train=100, num_validation=60, channels=3, side=SIDE):
    random = np.random.default_rng(0)

    def split(num_images):
        labels = np.arange(num_images) % 3
        images = random.integers(0, 120, (num_images, channels, side, side))
        images += 45 * labels[:, None, None, None]
        return Split(images.astype(np.uint8), labels.astype(np.int64), tuple(map(str, range(num_images))))

    return ImageDataset("made", ("a", "b", "c"), split(num_train), split(num_validation), split(6))


class Machine:
    """A clock that runs while a network computes: as many seconds as pixels, times what else the machine does."""

    def __init__(self, load=lambda now: 1.0):
        self.now = 0.0
        self.load = load

    def clock(self):
        return self.now

    def work(self, model, inputs, _):
        images = len(inputs[0]) * inputs[0][0].numel() / (3 * SIDE * SIDE)
        self.now += images / 25 * STEP * (1.0 if model.training else 0.25) * self.load(self.now)


def make_loop(machine, budget, started=0.0, dataset=None, **settings):
    defaults = {
        "model.name": "FastNet",
        "training.batch_size": 25,
        "training.batch_norm_images": 30,
        "training.epochs": 10,
        "optimizer.schedule": "linear",
        "optimizer.lr": 0.01,
        "budget.seconds": budget,
    }
    config = load_config(settings=defaults | settings)
    dataset = dataset or make_dataset()
    torch.manual_seed(1)
    model = FastNet((4, 6), image_shape=dataset.image_shape, num_classes=3)
    model.register_forward_hook(machine.work)
    epochs = config.training.epochs
    schedule = BudgetSchedule(epochs, budget, STEP, VALIDATION, started, machine.clock)
    return TrainingLoop(model, dataset, config, Preprocessing.fit(dataset), SETTINGS, schedule)


def rates_of(loop):
    """Train to the end; returns the learning rate of each step."""
    return [loop._optimizer.param_groups[0]["lr"] for record in loop if isinstance(record, StepRecord)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("0.5m", 30), ("2h5m10s", 7510)],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(written_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["600", "", "10 minutes", "m", "0s", "-5m", "1.2.3s", "5m1h", "infm", "1e3s"]
)
def test_other_times_are_refused_in_one_line(text):
    with pytest.raises(ConfigError, match=r"^`budget=.*`: write a time with its unit, .* 10m"):
        parse_duration(text)


LOADS = {
    "nothing else": lambda now: 1.0,
    "twice as fast as measured": lambda now: 0.5,
    "twice as slow as measured": lambda now: 2.0,
    "another program from the middle on": lambda now: 2.0 if now > 30 else 1.0,
    "another program in the middle": lambda now: 2.2 if 20 < now < 40 else 1.0,
    "another program shortly before the end": lambda now: 2.0 if now > 52 else 1.0,
    "a program that comes and goes": lambda now: 2.0 if int(now / 7) % 2 else 1.0,
    "ever slower": lambda now: 1.0 + now / 30,
}


@pytest.mark.parametrize("low_resolution", [[], [[0.4, 0.7], [0.75, 0.85]]])
@pytest.mark.parametrize("load", LOADS)
def test_a_run_ends_in_time_with_a_learning_rate_of_zero_whatever_else_the_machine_does(load, low_resolution):
    machine = Machine(LOADS[load])
    loop = make_loop(machine, 60.0, **{"training.low_resolution": low_resolution})
    rates = rates_of(loop)
    assert 0.9 * 60 <= machine.now <= 1.05 * 60
    assert loop.finished
    assert not loop.stopped_early
    assert rates[0] == pytest.approx(0.01, rel=0.05)
    assert rates[-1] < 0.01 * 0.1  # one or two steps of the time
    assert rates == sorted(rates, reverse=True) or load == "another program in the middle"
    assert loop.history[-1].lr == pytest.approx(rates[-1])


def test_learning_rate_and_resolution_follow_the_time_and_not_the_epochs():
    machine = Machine()
    machine.now = began = 7.0  # went into measurements
    loop = make_loop(machine, 60.0, **{"training.low_resolution": [[0.5, 0.5]], "training.epochs": 3})
    moments, rates, sides = [], [], []
    loop.model.register_forward_pre_hook(
        lambda model, inputs: sides.append(inputs[0].shape[2]) if model.training else None
    )
    before = began
    for record in loop:
        if isinstance(record, StepRecord):
            moments.append(before)
            rates.append(loop._optimizer.param_groups[0]["lr"])
        before = machine.now
    # 0.9 s to validate, a tenth more, 0.6 s and 2 s to spare; a step at half the side takes a quarter of a second.
    training = 60 - 1.1 * VALIDATION - 2.6 - began
    expected = [0.01 * (1 - (moment - began) / training) for moment in moments]
    assert rates == pytest.approx(expected, rel=0.01, abs=2e-5)
    assert [side == 6 for side in sides] == [moment - began < training / 2 for moment in moments]
    assert loop.history[-1].epoch > 3  # as many as there is time for
    assert len(sides) == pytest.approx(training / 2 / 0.25 + training / 2, rel=0.05)


def test_validations_take_a_twentieth_of_the_time_and_the_last_is_at_the_end():
    machine = Machine()
    dataset = make_dataset(
        num_train=50
    )  # two steps an epoch: validating after each would be a third of the time
    loop = make_loop(machine, 100.0, dataset=dataset)
    moments, num_images = [], 0
    for record in loop:
        if isinstance(record, EpochRecord):
            moments.append(machine.now)
        else:
            num_images += record.num_images
    *between, end = moments
    assert len(between) >= 2
    assert len(between) * VALIDATION <= 0.05 * 100
    assert np.diff([0, *moments]).min() > 19 * VALIDATION
    assert end == machine.now
    assert [record.epoch for record in loop.history] == sorted({record.epoch for record in loop.history})
    assert num_images == pytest.approx(25 * (100 - len(moments) * VALIDATION - 3), rel=0.03)


def test_records_hold_all_images_since_the_one_before():
    """Of two epochs in one record, and of a last one in part, the means are over the images."""
    machine = Machine()
    loop = make_loop(machine, 60.0, dataset=make_dataset(num_train=50))
    predicted, real_step = [], loop._step

    def step(images, labels, seed):
        handle = loop.model.register_forward_hook(
            lambda _, __, logits: predicted.extend((logits.argmax(1) == labels).tolist())
        )
        result = real_step(images, labels, seed)
        handle.remove()
        return result

    loop._step = step
    epoch = 0
    for record in loop:
        if isinstance(record, EpochRecord):
            assert len(predicted) > 50
            assert record.train_accuracy == pytest.approx(np.mean(predicted))
            assert record.epoch == epoch
            predicted.clear()
        epoch = record.epoch
    assert loop.history
    assert not predicted


@pytest.mark.parametrize("num_records", [1, 5, 30, 57])
@pytest.mark.parametrize("lost", [0.0, 10.0])
def test_a_resumed_run_spends_what_was_left(num_records, lost):
    """Two processes together take the budget; what the first did after it last saved is not counted."""
    first = Machine()
    loop = make_loop(first, 60.0)
    for _ in zip(range(num_records), loop, strict=False):
        pass
    tensors, rest = loop.state()
    rest = json.loads(json.dumps(rest))
    second = Machine()
    second.now = 1000 + lost  # a clock of another process, which has been running for 10 s
    resumed = make_loop(second, 60.0, started=1000.0)
    resumed.load_state(tensors, rest)
    rates = rates_of(resumed)
    spent = first.now + second.now - 1000
    assert spent <= 1.05 * 60 or lost > 60 - first.now
    assert spent >= 0.9 * 60
    assert rates == sorted(rates, reverse=True)
    assert resumed.history[: len(loop.history)] == loop.history
    assert resumed.finished
    assert resumed.history[-1].epoch >= loop.history[-1].epoch if loop.history else resumed.history


def test_to_ask_for_the_state_changes_nothing():
    """A schedule that is asked at every record, and loads what it gave, counts its time once."""
    machines, lines = (Machine(), Machine()), []
    for machine in machines:
        loop = make_loop(machine, 30.0, started=-5.0)
        for record in loop:
            if machine is machines[1]:
                before = dict(vars(loop._schedule))
                state = loop._schedule.state()
                assert vars(loop._schedule) == before
                loop._schedule.load_state(state)
            lines.append((machine.now, record))
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_a_finished_run_stays_finished_and_one_without_time_ends_with_what_it_has():
    machine = Machine()
    loop = make_loop(machine, 30.0)
    for record in loop:
        if isinstance(record, StepRecord) and record.step == 3:
            in_the_middle = loop.state()
    late = Machine()
    late.now = 100.0
    resumed = make_loop(late, 30.0, started=0.0)
    resumed.load_state(*in_the_middle)
    assert [type(record) for record in resumed] == [EpochRecord]
    assert resumed.finished
    again = make_loop(late, 30.0, started=0.0)
    again.load_state(*loop.state())
    assert again.finished
    assert list(again) == []


def test_a_budget_shorter_than_a_step_still_takes_one():
    machine = Machine()
    loop = make_loop(machine, 0.5)
    assert [type(record) for record in loop] == [StepRecord, EpochRecord]


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_without_a_budget_nothing_depends_on_time(averaging):
    """The same loop with and without a clock that never moves."""
    dataset = make_dataset()
    config = load_config(settings={"training.epochs": 2, "training.averaging_epochs": averaging})
    histories = []
    for _ in range(2):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * SIDE * SIDE), nn.Linear(3 * SIDE * SIDE, 3))
        loop = TrainingLoop(model, dataset, config, Preprocessing.fit(dataset), SETTINGS)
        histories.append([record for record in loop if isinstance(record, EpochRecord)])
        assert "timer" not in loop.state()[1]
    assert histories[0] == histories[1]


SPEED = {1.0: 0.002, 0.75: 0.0012, 0.5: 0.0006}  # seconds of an image in training, in the widest network


def planned(budget, speed=SPEED, scale=1.0, channels=3, spent=5.0, power=2.0, **settings):
    """Plan for a machine on which an image's time is in proportion to a power of the last width."""
    config = requested("cifar10", None, None, settings, None, None, None, written_duration(budget))

    def measure(candidate):
        factor = scale * (candidate.model.options.get("widths", [256])[-1] / 256) ** power
        return Speed({part: seconds * factor for part, seconds in speed.items()}, 0.0, 8 * factor)

    return make_plan(config, (channels, 32, 32), 50_000, measure, lambda: spent)


def test_more_time_means_a_wider_network_then_more_passes_then_less_saving_on_resolution():
    budgets = [60, 120, 300, 900, 3600, 36_000]
    plans = [planned(budget) for budget in budgets]
    widths = [config.model.options["widths"] for config, _ in plans]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] == [64, 256, 256]
    small = [config.training.low_resolution for config, _ in plans]
    assert small[0]
    assert small[-1] == ()
    for (config, plan), budget in zip(plans, budgets, strict=True):
        assert config.training.epochs == max(1, round(plan.num_passes))
        # What was planned fits into the budget, counted by hand.
        factor = (config.model.options["widths"][-1] / 256) ** 2
        training = 0.99 * budget - 2 - 1.1 * 8 * factor - 5
        since, passes = 0.0, 0.0
        for until, part in (*config.training.low_resolution, (1.0, 1.0)):
            passes += (until - since) * training / (50_000 * SPEED[part] * factor)
            since = until
        assert plan.num_passes == pytest.approx(passes)


@pytest.mark.parametrize("budget", [40, 50, 60, 70, 80, 90, 100, 110, 120, 140, 160, 180, 200, 240, 300])
@pytest.mark.parametrize("power", [0.9, 1.3, 2.0])
def test_a_network_has_enough_passes_or_is_the_narrowest(budget, power):
    """Also where narrow networks are slower than their multiplications, as they are on most machines."""
    config, plan = planned(budget, power=power)
    assert plan.num_passes >= 4 or config.model.options["widths"] == [24, 48, 48]


def test_what_the_user_has_set_is_not_planned():
    config, _ = planned(120, **{"model.widths": [8, 8], "training.low_resolution": [[0.2, 0.5]]})
    assert config.model.options["widths"] == [8, 8]
    assert config.training.low_resolution == ((0.2, 0.5),)
    config, _ = planned(120, **{"training.low_resolution": []})
    assert config.training.low_resolution == ()
    with pytest.raises(ConfigError, match="give one of them"):
        planned(120, **{"training.epochs": 3})


def test_a_named_network_or_recipe_keeps_everything_but_length_and_resolution(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[model]\nname = 'FastNet'\n[optimizer]\nname = 'sgd'\n[training]\nepochs = 77\n")
    for config in (
        requested("digits", None, recipe, None, None, None, None, "10m"),
        requested("digits", "FastNet", None, None, None, None, None, "10m"),
    ):
        assert set(config.budget.planned) == {"training.epochs", "training.low_resolution"}
        plan, _ = make_plan(config, (1, 16, 16), 500, lambda _: Speed({1.0: 0.01}, 0.0, 1.0), lambda: 0.0)
        assert plan.optimizer == config.optimizer
        assert plan.model == config.model
        assert plan.training.epochs not in (77, 10)
        assert plan.training.low_resolution == (), "the network takes images of one size"


def test_grey_images_are_not_mirrored():
    config, _ = planned(600, channels=1)
    assert config.augment.horizontal_flip == 0
    assert not config.views.mirror
    config, _ = planned(600, channels=3)
    assert config.augment.alternate_flips
    assert config.views.mirror


@pytest.mark.parametrize("scale", [0.1, 1.0, 50.0, 1000.0])
@pytest.mark.parametrize("budget", [1, 2, 5])
def test_too_short_a_budget_is_refused_with_one_that_is_enough(scale, budget):
    with pytest.raises(ConfigError, match=r"too short: one pass over 50,000 images takes about") as refusal:
        planned(budget, scale=scale)
    assert "\n" not in str(refusal.value)
    enough = parse_duration(str(refusal.value).rpartition("`budget='")[2].strip("'`"))
    _, plan = planned(enough, scale=scale)
    assert plan.num_passes >= 1


@pytest.fixture(scope="module")
def trained_before(tmp_path_factory, no_figures):
    """The imports of a first training take seconds, which are more than the tests' budgets."""
    kilnet.train(
        make_dataset(),
        recipe="fast",
        epochs=1,
        settings=TINY,
        out=tmp_path_factory.mktemp("first") / "run",
        progress=False,
    )


@pytest.fixture
def processor_time(monkeypatch, trained_before):
    """Count the time that this process computes, whatever else the machine does."""
    for name in ("kilnet.verbs.train.monotonic", "kilnet.verbs.finetune.monotonic", "time.perf_counter"):
        monkeypatch.setattr(name, time.process_time)
    monkeypatch.setattr(
        "kilnet.verbs.train.TrainingSession", functools.partial(TrainingSession, clock=time.process_time)
    )


def test_plan_and_time_left_are_told(tmp_path, capsys, processor_time):
    settings = TINY | {
        "training.low_resolution": [[0.4, 0.5], [0.75, 0.75]],
        "training.checkpoint_seconds": 0.1,
    }
    kilnet.train(make_dataset(num_train=120), budget="4s", settings=settings, out=tmp_path / "run")
    lines = capsys.readouterr().err.splitlines()
    (plan,) = (line for line in lines if "passes" in line)
    assert re.fullmatch(
        r"[1234]s of 4s left: about \d+\.\d passes in all over 120 images, [\d,]+ images/s in batches of \d+; "
        r"6x6 until 40%, 9x9 until 75%, then 12x12; learning rate 0 at \d\d:\d\d:\d\d",
        plan,
    )
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert all(re.search(r"images/s, \d.* s(, \d\.\d s left)?$", line) for line in epochs)
    assert not any("/" in line.split("  train")[0] for line in epochs), "nobody knows how many there will be"


def test_train_takes_the_time_it_is_given_and_the_same_call_again_nothing_more(tmp_path, processor_time):
    dataset = make_dataset(num_train=120)
    start = time.process_time()
    run = kilnet.train(dataset, budget="4s", settings=TINY, out=tmp_path / "run", progress=False)
    assert 1.5 <= time.process_time() - start <= 4.2
    assert run.finished
    assert run.config.model.name == "FastNet"
    assert run.history[-1].lr < 0.05 * run.config.optimizer.lr
    assert run.config.training.epochs > 1
    before = {path: path.read_bytes() for path in run.folder.glob("*.*")}
    again = kilnet.train(dataset, budget="4s", settings=TINY, out=tmp_path / "run", progress=False)
    assert again.finished
    assert again.history == run.history
    assert {path: path.read_bytes() for path in run.folder.glob("*.*")} == before
    with pytest.raises(kilnet.errors.RunFolderError, match=r"budget\.seconds: 4\.0 -> 5\.0"):
        kilnet.train(dataset, budget="5s", settings=TINY, out=tmp_path / "run", progress=False)
    # The command that resumes it names its config.toml alone.
    kept = kilnet.train(
        dataset,
        recipe=run.folder / "config.toml",
        settings={"data.source": run.config.data.source},
        out=run.folder,
        progress=False,
    )
    assert kept.history == run.history


def test_a_session_that_was_left_goes_on_with_the_plan_and_the_time_that_it_had(tmp_path, monkeypatch):
    per_image = STEP / 25
    speed = Speed({1.0: per_image, 0.75: 0.5625 * per_image, 0.5: 0.25 * per_image}, 0.0, 160 / 4 * per_image)
    monkeypatch.setattr("kilnet.training.plan.measure_network", lambda *_: speed)
    dataset = make_dataset()
    settings = TINY | {"training.averaging_epochs": 0}  # the clock hears the network that trains
    config = requested(dataset, None, None, settings, None, None, None, "50s")
    machine = Machine()

    def session():
        made = TrainingSession(dataset, config, tmp_path / "run", machine.now, machine.clock)
        made.loop.model.register_forward_hook(machine.work)
        return made

    first = session()
    for record in first:
        if isinstance(record, StepRecord) and machine.now > 20:
            first._save_state()
            break
    environment = (tmp_path / "run" / "environment.json").read_bytes()
    machine.now += 500  # nobody works on it
    second = session()
    assert second.seconds_left == pytest.approx(50 - 20, abs=2)
    assert second.config == first.config
    assert second.plan == first.plan
    since = machine.now
    list(second)
    assert machine.now - since == pytest.approx(50 - 20, abs=4)
    assert (tmp_path / "run" / "environment.json").read_bytes() == environment
    assert RunFolder(tmp_path / "run").history()[-1].lr < 0.05 * config.optimizer.lr


def test_finetune_keeps_to_a_budget_too(tmp_path, processor_time):
    dataset = make_dataset()
    settings = TINY | {
        "model.name": "FastNet",
        "training.low_resolution": [[0.5, 0.75]],
        "training.keep": "last",
    }
    parent = kilnet.train(dataset, epochs=1, settings=settings, out=tmp_path / "parent", progress=False)
    start = time.process_time()
    options = {"data": dataset, "settings": HARDWARE, "progress": False}  # else threads would be measured
    tuned = kilnet.finetune(parent, budget="4s", out=tmp_path / "tuned", **options)
    assert 1.2 <= time.process_time() - start <= 4.2
    assert tuned.finished
    assert tuned.history[-1].lr < 0.05 * tuned.config.optimizer.lr
    assert tuned.config.training.patience is None
    assert tuned.config.training.keep == "best"
    assert tuned.config.optimizer.lr == pytest.approx(min(0.0008, 0.8 * parent.config.optimizer.lr))
    assert tuned.config.training.low_resolution == ()
    with pytest.raises(ConfigError, match="give one of them"):
        kilnet.finetune(parent, budget="2s", epochs=3, data=dataset, progress=False)
    # A run that was trained with a budget is fine-tuned without one, unless it is given.
    further = kilnet.finetune(tuned, epochs=2, data=dataset, out=tmp_path / "further", progress=False)
    assert further.config.budget.seconds is None
    assert len(further.history) == 2
    assert further.config.training.patience == 6


def test_muon_is_fine_tuned_at_a_rate_of_its_own(tmp_path, processor_time):
    settings = TINY | {"model.name": "FastNet", "optimizer.name": "muon", "optimizer.lr": 0.1}
    dataset = make_dataset()
    parent = kilnet.train(dataset, epochs=1, settings=settings, out=tmp_path / "parent", progress=False)
    tuned = kilnet.finetune(parent, epochs=1, data=dataset, out=tmp_path / "tuned", progress=False)
    assert tuned.config.optimizer.lr == pytest.approx(0.02)


def test_a_budget_that_is_too_small_leaves_nothing_behind(tmp_path):
    with pytest.raises(ConfigError, match="too short"):
        kilnet.train(make_dataset(), budget="0.1s", settings=TINY, out=tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_search_has_no_budget(tmp_path):
    with pytest.raises(ConfigError, match=r"`epochs` and `trials`"):
        kilnet.HyperSearch(
            make_dataset(), {"model.c1": [4, 8]}, settings={"budget.seconds": 5}, out=tmp_path / "search"
        )


def test_the_fast_recipe_is_known_by_its_name_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("fast"))
    assert (config.model.name, config.optimizer.name) == ("FastNet", "muon")
    (tmp_path / "fast").write_text("[model]\nname = 'ResNet'\n")
    assert load_config(Path("fast")).model.name == "ResNet"


@pytest.mark.parametrize(
    ("num_images", "epochs", "batch_size"),
    [(48_000, 10, 500), (12_000, 6, 500), (2400, 10, 100), (24_000, 2, 333), (2400, 50, 100), (30, 10, 2)],
)
def test_few_images_and_few_epochs_make_small_batches(num_images, epochs, batch_size):
    settings = {"training.batch_size": 500, "training.min_steps": 24, "training.epochs": epochs}
    assert load_config(settings=settings).training.batch_size_for(num_images) == batch_size


def test_small_batches_lower_the_rates_of_what_is_no_filter():
    dataset = make_dataset(num_train=100)
    settings = {"optimizer.name": "muon", "optimizer.linear_factor": 8.0, "optimizer.bias_factor": 100.0}
    settings |= {"training.batch_size": 50, "training.min_steps": 5, "training.epochs": 3}
    config = load_config(settings=settings | {"optimizer.schedule": "constant"})
    model = FastNet((4, 6), image_shape=dataset.image_shape, num_classes=3)
    loop = TrainingLoop(model, dataset, config, Preprocessing.fit(dataset), SETTINGS)
    steps = [record for record in loop if isinstance(record, StepRecord)]
    assert [step.num_images for step in steps] == [10] * 30
    rates = [group["lr"] / config.optimizer.lr for group in loop._optimizer.param_groups]
    assert rates == pytest.approx([1.0, 8.0 / 5, 100.0 / 5])
