"""A part of the budget that measures what suits the images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kilnet import models
from kilnet.data.dataset import ImageDataset, Split
from kilnet.models import EfficientNetLite
from kilnet.training import choice
from kilnet.training.choice import choose
from kilnet.verbs.request import requested, with_budget
from made_up_machine import HARDWARE, SETTINGS


def made_up(side, num_train=60):
    random = np.random.default_rng(0)

    def split(num_images):
        labels = np.arange(num_images) % 2
        images = random.integers(0, 150, (num_images, 3, side, side)) + 90 * labels[:, None, None, None]
        return Split(images.astype(np.uint8), labels.astype(np.int64), tuple(map(str, range(num_images))))

    return ImageDataset("made", ("dark", "light"), split(num_train), split(20), split(20))


@pytest.fixture
def candidates(tmp_path, monkeypatch):
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "_LEAST_SECONDS", 1.0)
    torch.manual_seed(0)
    path = tmp_path / "theirs.safetensors"
    network = EfficientNetLite(image_shape=(3, 32, 32), num_classes=7).train()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    network(torch.randn(64, 3, 32, 32))  # or its features would hardly differ
    save_file(network.state_dict(), path)
    scratch = requested("photos", None, None, HARDWARE, None, 0, None, "12s")
    settings = HARDWARE | {
        "model.name": "EfficientNetLite",
        "model.weights": str(path),
        "data.image_size": 32,
    }
    pretrained = requested("photos", None, None, settings, None, 0, None)
    pretrained = with_budget(
        pretrained, "12s", {}, ("training.frozen", "augment.horizontal_flip", "views.mirror")
    )
    complete = [
        config.model_copy(update={"model": models.complete(config.model)}) for config in (scratch, pretrained)
    ]
    return complete[0], complete[1:]


@pytest.mark.slow
def test_both_are_tried_and_one_of_them_gets_the_rest(candidates):
    scratch, pretrained = candidates
    asked = []

    def load(config):
        asked.append(config.model.name)
        return made_up(32 if config is scratch else config.data.image_size)

    chosen = choose(scratch, pretrained, load, lambda: 0.5)
    config, dataset, line = chosen.config, chosen.dataset, chosen.line
    assert asked == ["FastNet", "EfficientNetLite"]
    assert "EfficientNetLite 0 with pretrained weights at 32 pixels" in line
    assert "FastNet from random weights" in line
    assert config.model.name in line
    assert config.budget.seconds == 12
    assert dataset.image_shape == (3, 32, 32)


def with_seconds(config, seconds):
    return config.model_copy(update={"budget": config.budget.model_copy(update={"seconds": seconds})})


@pytest.mark.slow
def test_what_was_chosen_is_chosen_again_for_the_same_images_and_time(candidates, monkeypatch):
    scratch, pretrained = with_seconds(candidates[0], 30.0), [with_seconds(candidates[1][0], 30.0)]
    found = choose(scratch, pretrained, lambda _: made_up(32), lambda: 0.5)
    monkeypatch.setattr(choice, "_try_pretrained", lambda *_: pytest.fail("tried again"))
    monkeypatch.setattr(choice, "_try_random", lambda *_: pytest.fail("tried again"))
    other = scratch.model_copy(update={"seed": 7})
    again = choose(other, pretrained, lambda _: made_up(32), lambda: 0.5)
    assert again.config == found.config.model_copy(update={"seed": 7})
    assert again.line == f"{found.line}; so it was measured before"
    for seconds, num_train in ((40.0, 60), (30.0, 62)):
        with pytest.raises(pytest.fail.Exception, match="tried again"):
            choose(
                with_seconds(scratch, seconds),
                pretrained,
                lambda _, num=num_train: made_up(32, num),
                lambda: 0.5,
            )


def test_without_time_for_both_only_what_may_be_a_photograph_is_tried_with_pretrained_weights(
    candidates, monkeypatch
):
    scratch, pretrained = candidates
    monkeypatch.setattr(choice, "_LEAST_SECONDS", 1e6)
    chosen = choose(scratch, pretrained, lambda _: made_up(32), lambda: 0.5)
    assert chosen.config is scratch
    assert chosen.line is None
    monkeypatch.setattr(choice, "_PHOTOGRAPH_SIDE", 32)
    chosen = choose(scratch, pretrained, lambda _: made_up(32), lambda: 12.0)
    assert (
        chosen.config.model.name == "EfficientNetLite"
    )  # what suits photographs, even without time to see all
    assert chosen.config.training.frozen == "features"
    assert "FastNet" not in chosen.line
    chosen = choose(scratch, pretrained, lambda _: made_up(32), lambda: 6.0)
    assert chosen.config.model.name == "EfficientNetLite"
    assert "FastNet" not in chosen.line


def test_images_that_do_not_fit_into_memory_are_not_enlarged(candidates, monkeypatch):
    scratch, pretrained = candidates
    monkeypatch.setattr(choice, "_MEMORY_PART", 1e-9)
    assert choose(scratch, pretrained, lambda _: made_up(64), lambda: 0.5).config is scratch


def test_the_budget_is_kept_where_features_take_much_longer_than_was_measured(candidates, monkeypatch):
    scratch, pretrained = candidates
    now = 0.5
    features = EfficientNetLite.features

    def slow(network, images):
        nonlocal now
        now += 0.1 * len(images) * bool(images.any())  # blank ones measure what is expected
        return features(network, images)

    monkeypatch.setattr(EfficientNetLite, "features", slow)
    line = choose(scratch, pretrained, lambda _: made_up(32, 400), lambda: now).line
    assert "with pretrained weights" in line
    assert now < 0.5 * 12 + 2


@pytest.mark.slow
def test_the_size_of_images_that_suits_some_of_them_best_gets_all(candidates, monkeypatch):
    scratch, (small,) = candidates
    large = small.model_copy(update={"data": small.data.model_copy(update={"image_size": 64})})
    asked = []
    monkeypatch.setattr(choice, "_measured", lambda *_: (SETTINGS, 1e5))  # whatever else the machine does

    def load(config):
        side = 32 if config is scratch else config.data.image_size
        asked.append((config.model.name, side))
        return made_up(side, 200)

    chosen = choose(scratch, [small, large], load, lambda: 0.5)
    config, dataset, line = chosen.config, chosen.dataset, chosen.line
    assert asked == [("FastNet", 32), ("EfficientNetLite", 32), ("EfficientNetLite", 64)]
    if config.model.name == "EfficientNetLite":
        assert f"at {config.data.image_size} pixels" in line
        assert dataset.image_shape[1] == config.data.image_size
    asked.clear()
    some = []

    def squares(config, split):
        some.append((config.data.image_size, len(split)))
        return replace(split, images=made_up(config.data.image_size, 200).train.images[: len(split)])

    chosen = choose(scratch, [small, large], load, lambda: 0.5, squares=squares)
    assert [side for side, _ in some] == [32, 64]
    assert len([side for name, side in asked if name == "EfficientNetLite"]) == 1  # all of what is chosen
    if chosen.first is not None:
        assert chosen.first.features.shape == (200, 1280)
        assert chosen.first.logits.shape == (20, 2)
    asked.clear()
    monkeypatch.setattr(choice, "_SIZES_PART", 0.0)  # no time to compare: the largest
    assert "at 64 pixels" in choose(scratch, [small, large], load, lambda: 0.5).line
    assert asked == [("FastNet", 32), ("EfficientNetLite", 64)]
