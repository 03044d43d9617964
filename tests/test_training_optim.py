import pytest
import torch
from torch import nn

from kilnet.config import OptimizerConfig
from kilnet.data.preprocess import Preprocessing
from kilnet.models import FastNet
from kilnet.recipes.reading import load_config
from kilnet.training.loop import TrainingLoop
from kilnet.training.optim import by_depth, freeze, lr_factor, make_optimizer, set_lr
from kilnet.training.records import StepRecord
from made_up_machine import SETTINGS, make_dataset


def torch_factors(make_scheduler, num_steps):
    """The factors that one of torch's schedulers gives at each step."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(optimizer)
    factors = []
    for _ in range(num_steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def our_factors(schedule, num_steps, epochs, **options):
    config = OptimizerConfig(schedule=schedule, **options)
    return [lr_factor(config, step / num_steps * epochs, epochs) for step in range(num_steps)]


def test_constant_is_one_throughout():
    assert set(our_factors("constant", 50, 7)) == {1.0}


def test_cosine_is_torchs():
    expected = torch_factors(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 200), 200)
    assert our_factors("cosine", 200, 7) == pytest.approx(expected, abs=1e-9)


def test_linear_is_torchs():
    expected = torch_factors(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 200), 200)
    assert our_factors("linear", 200, 7) == pytest.approx(expected, abs=1e-9)


def test_onecycle_is_torchs():
    num_steps = 5000
    expected = torch_factors(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 1.0, num_steps, pct_start=0.3, div_factor=25, final_div_factor=1e12, cycle_momentum=False
        ),
        num_steps,
    )
    # torch reaches the top one step earlier, and the end at the last step rather than after it.
    assert our_factors("onecycle", num_steps, 10) == pytest.approx(expected, abs=4 / num_steps)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "onecycle"])
def test_schedules_end_at_zero_and_reach_one(schedule):
    config = OptimizerConfig(schedule=schedule)
    assert lr_factor(config, 10, 10) == pytest.approx(0, abs=1e-12)
    top = 3 if schedule == "onecycle" else 0
    assert lr_factor(config, top, 10) == pytest.approx(1)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_warmup_rises_linearly_and_the_schedule_takes_the_rest(schedule):
    config = OptimizerConfig(schedule=schedule, warmup_epochs=2)
    assert [lr_factor(config, epoch, 10) for epoch in (0, 0.5, 1, 1.5)] == [0, 0.25, 0.5, 0.75]
    without = OptimizerConfig(schedule=schedule)
    rest = [lr_factor(config, epoch, 10) for epoch in (2, 3.5, 9.9)]
    assert rest == pytest.approx([lr_factor(without, epoch, 8) for epoch in (0, 1.5, 7.9)])


def test_warmup_longer_than_the_run_never_leaves_the_ramp():
    config = OptimizerConfig(warmup_epochs=20, schedule="cosine")
    assert [lr_factor(config, epoch, 10) for epoch in (0, 5, 10)] == [0, 0.25, 0.5]


REFERENCES = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, fused=False, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=False, foreach=False),
    "sgd": lambda p: torch.optim.SGD(
        p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1, foreach=False
    ),
    "sgd without momentum": lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1, foreach=False),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_optimisers_move_the_weights_as_torchs_plain_ones(case):
    config = OptimizerConfig(
        name=case.split()[0], lr=0.01, weight_decay=0.1, momentum=0.0 if "without" in case else 0.9
    )
    start = torch.linspace(-2, 2, 40)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    our_optimizer, their_optimizer = make_optimizer(config, [ours]), REFERENCES[case]([theirs])
    for _ in range(8):
        for weights, optimizer in ((ours, our_optimizer), (theirs, their_optimizer)):
            optimizer.zero_grad()
            (weights.sin() * weights).sum().backward()
            optimizer.step()
    assert not torch.allclose(ours, start, atol=0.01)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


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


def test_layers_further_from_the_answers_move_more_slowly():
    model = torch.nn.Sequential()
    model.add_module("stem", torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()))
    blocks = [torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2))) for _ in range(2)]
    model.add_module("blocks", torch.nn.Sequential(*blocks))
    model.add_module("fc", torch.nn.Linear(2, 2))
    optimizer = make_optimizer(OptimizerConfig(name="sgd", lr=0.1, momentum=0), by_depth(model, 0.5))
    set_lr(optimizer, 0.08)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.02, 0.04, 0.08])
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert list(map(id, moved)) == list(map(id, model.parameters()))
    assert len(list(by_depth(model, 1.0))) == len(list(model.parameters()))
    with pytest.raises(ValueError, match="layer_decay goes with"):
        OptimizerConfig(name="muon", layer_decay=0.9)


def test_the_first_half_of_the_layers_stays_as_it_is():
    block = lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))  # noqa: E731
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(block(), nn.ReLU(), block()), nn.Linear(3, 2))
    for frozen in ("nothing", "statistics", "features"):
        freeze(model, frozen)
        assert all(parameter.requires_grad for parameter in model.parameters())
    freeze(model, "early")
    learning = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"1.2.0", "1.2.1", "2"}
