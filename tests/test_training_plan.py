"""What is trained in a given time, planned from made-up speeds."""

import pytest

from kilnet import models
from kilnet.errors import ConfigError
from kilnet.recipes.reading import parse_duration, written_duration
from kilnet.training.plan import make_plan
from kilnet.training.speed import Speed
from kilnet.verbs.request import requested

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


def test_a_part_of_a_pass_has_as_many_steps_as_a_whole_one_and_averages_as_much_of_them():
    whole, _ = planned(20, scale=5)
    part, plan = planned(12, scale=5)
    assert 0.25 <= plan.num_passes < 0.5
    assert part.training.epochs == whole.training.epochs == 1
    steps_of_a_pass = [50_000 / config.training.batch_size_for(50_000) for config in (whole, part)]
    assert plan.num_passes * steps_of_a_pass[1] == pytest.approx(steps_of_a_pass[0], rel=0.1)
    assert whole.training.averaging_epochs == 0.3
    assert part.training.averaging_epochs == pytest.approx(0.3 * plan.num_passes, rel=0.1)


def test_with_a_short_budget_the_wide_networks_are_not_measured_where_the_narrowest_has_few_passes():
    measured = []

    def measure(candidate):
        measured.append(candidate.model.options["widths"])
        return Speed({1.0: 0.0005, 0.75: 0.0003, 0.5: 0.0002}, 0.0, 1.0)

    for budget, widths in (("20s", [[24, 48, 48]]), ("2m", [[64, 256, 256]])):
        config = requested("cifar10", None, None, {}, None, None, None, budget)
        make_plan(config, (3, 32, 32), 50_000, measure, lambda: 5.0)
        assert measured[: len(widths)] == widths
        measured.clear()


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


@pytest.mark.parametrize(("budget", "frozen"), [("25s", "early"), ("40s", "early"), ("2m", "statistics")])
def test_with_time_for_few_passes_the_first_layers_of_a_pretrained_network_stay_as_they_are(budget, frozen):
    config = requested("photos", None, None, None, None, None, None, budget, "pretrained")
    complete = {"model": models.complete(config.model)}
    config = config.model_copy(update=complete)

    def measure(candidate):
        return Speed({1.0: 0.01 if candidate.training.frozen == "early" else 0.02}, 0.0, 1.0)

    chosen, plan = make_plan(config, (3, 224, 224), 1000, measure, lambda: 5.0)
    assert chosen.training.frozen == frozen
    assert plan.step_seconds == pytest.approx(32 * (0.01 if frozen == "early" else 0.02))
    asked = {"training.frozen": "statistics"}
    config = requested("photos", None, None, asked, None, None, None, budget, "pretrained")
    config = config.model_copy(update=complete)
    assert make_plan(config, (3, 224, 224), 1000, measure, lambda: 5.0)[0].training.frozen == "statistics"
