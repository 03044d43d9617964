import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]

from changed_images import change, random_images, shift_hue_by_loop, smooth_image
from kilnet.config import AugmentConfig
from kilnet.data.augment import Augmentation
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ConfigError
from kilnet.recipes.reading import load_config

EVERYTHING = AugmentConfig(
    rotation=20,
    translation=0.1,
    shift_px=3,
    zoom=0.2,
    horizontal_flip=0.5,
    vertical_flip=0.5,
    brightness=0.2,
    contrast=0.3,
    saturation=0.4,
    hue=0.1,
    cutout=0.25,
    crop=0.3,
)
# What each key of the configuration draws, with its range for the values above.
DRAWN: dict[str, dict[str, tuple[float, float]]] = {
    "rotation": {"rotation": (-20, 20)},
    "translation": {"translation_x": (-0.1, 0.1), "translation_y": (-0.1, 0.1)},
    "zoom": {"zoom": (0.8, 1.2)},
    "brightness": {"brightness": (0.8, 1.2)},
    "contrast": {"contrast": (0.7, 1.3)},
    "saturation": {"saturation": (0.6, 1.4)},
    "hue": {"hue": (-0.1, 0.1)},
    "cutout": {"cutout_x": (0, 1), "cutout_y": (0, 1)},
    "crop": {
        "crop_area": (0.3, 1),
        "crop_log_ratio": (-np.log(4 / 3), np.log(4 / 3)),
        "crop_x": (0, 1),
        "crop_y": (0, 1),
    },
}
UNIFORM = {name: limits for names in DRAWN.values() for name, limits in names.items()}
NAMES_BY_KEY = {
    **{key: set(names) for key, names in DRAWN.items()},
    "shift_px": {"shift_x", "shift_y"},
    "horizontal_flip": {"horizontal_flip"},
    "vertical_flip": {"vertical_flip"},
}


def test_shifts_are_whole_pixels_all_as_likely() -> None:
    drawn = Augmentation.draw(AugmentConfig(shift_px=2), 20_000, seed=0, epoch=0).parameters
    for name in ("shift_x", "shift_y"):
        values, counts = np.unique(drawn[name], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert stats.chisquare(counts).pvalue > 0.001


def test_alternating_flips_show_each_image_both_ways_in_two_epochs() -> None:
    config = AugmentConfig(horizontal_flip=0.5, alternate_flips=True)
    flips = [Augmentation.draw(config, 1000, 3, epoch).parameters["horizontal_flip"] for epoch in range(4)]
    assert 400 < int(flips[0].sum()) < 600
    assert torch.equal(flips[1], ~flips[0])
    assert torch.equal(flips[2], flips[0])
    assert torch.equal(flips[3], flips[1])
    other_seed = Augmentation.draw(config, 1000, 4, 0).parameters["horizontal_flip"]
    assert not torch.equal(other_seed, flips[0])
    # The first epoch is that of a run without.
    plain = Augmentation.draw(AugmentConfig(horizontal_flip=0.5), 1000, 3, 0).parameters
    assert torch.equal(plain["horizontal_flip"], flips[0])
    with pytest.raises(ConfigError, match="needs horizontal_flip above 0"):
        load_config(settings={"augment.alternate_flips": True})


def test_parameters_that_change_nothing_return_the_same_values() -> None:
    image = random_images(1, side=33)[0]
    for fill in ("mirror", "black"):
        changed = change(
            image, fill, rotation=0, translation_x=0, zoom=1, horizontal_flip=0, brightness=1, contrast=1,
            saturation=1, hue=0,
        )  # fmt: skip
        assert np.abs(changed - image).max() < 0.01


def test_values_stay_between_0_and_255() -> None:
    images = np.concatenate([random_images(256), (random_images(256) > 127) * np.uint8(255)])
    config = AugmentConfig(
        rotation=180, translation=1, zoom=0.9, brightness=3, contrast=3, saturation=3, hue=0.5, cutout=0.2
    )
    changed = Augmentation.draw(config, 512, seed=3, epoch=0)(torch.from_numpy(images), torch.arange(512))
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_all_together_agree_with_the_steps_in_their_order() -> None:
    image = smooth_image(16)
    moved = change(image, rotation=10, zoom=1.1, horizontal_flip=True).astype(np.float64)
    brighter = np.clip(moved * 1.8, 0, 255)
    luma = np.array([0.299, 0.587, 0.114])
    grey = np.tensordot(luma, brighter, 1).mean()
    harder = np.clip(grey + 1.5 * (brighter - grey), 0, 255)
    grey = np.tensordot(luma, harder, 1)
    stronger = np.clip(grey + 1.4 * (harder - grey), 0, 255)
    expected = shift_hue_by_loop(stronger, 0.15)
    expected[:, 6:10, 6:10] = 0
    changed = change(
        image, rotation=10, zoom=1.1, horizontal_flip=True, brightness=1.8, contrast=1.5, saturation=1.4,
        hue=0.15, cutout=0.25, cutout_x=0.5, cutout_y=0.5,
    )  # fmt: skip
    # The mean grey value is taken in steps of 1/256.
    assert np.abs(changed - expected).max() < 0.02


# Distributions, at fixed seeds: a true uniform distribution fails a p below 0.001 once in a thousand draws.


@pytest.mark.parametrize("name", UNIFORM)
def test_parameters_are_uniform_in_their_range(name: str) -> None:
    drawn = Augmentation.draw(EVERYTHING, 20_000, seed=0, epoch=0).parameters[name]
    assert drawn.dtype == torch.float32
    values = drawn.double().numpy()
    low, high = UNIFORM[name]
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.001
    # Mean of n uniform values: standard error (high - low) / sqrt(12 n).
    assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * 20_000)


def test_factors_never_fall_below_0() -> None:
    config = AugmentConfig(brightness=1.5, contrast=1.5, saturation=1.5)
    for name, values in Augmentation.draw(config, 5000, seed=0, epoch=0).parameters.items():
        assert 0 <= values.min() < 0.01, name
        assert 2.49 < values.max() <= 2.5, name


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
@pytest.mark.parametrize("rotation", [0.0, 1e-6])
def test_flips_come_as_often_as_asked(name: str, probability: float, rotation: float) -> None:
    num_images = 4000
    images = np.zeros((num_images, 1, 4, 4), dtype=np.uint8)
    images[:, :, 0, 0] = 200
    config = AugmentConfig.model_validate({name: probability, "rotation": rotation})
    changed = Augmentation.draw(config, num_images, 1, 0)(torch.from_numpy(images), torch.arange(num_images))
    corner = (0, 3) if name == "horizontal_flip" else (3, 0)
    num_flipped = int((changed[:, 0, corner[0], corner[1]] > 100).sum())
    assert stats.binomtest(num_flipped, num_images, probability).pvalue > 0.001


def test_parameters_are_independent_of_each_other() -> None:
    drawn = Augmentation.draw(EVERYTHING, 20_000, seed=0, epoch=0).parameters
    correlations = np.corrcoef([values.double().numpy() for values in drawn.values()])
    # 0.03 is four standard errors, 1 / sqrt(20,000) each.
    assert np.abs(correlations - np.eye(len(drawn))).max() < 0.03


def test_brightness_of_the_pixels_is_uniform() -> None:
    images = torch.full((5000, 3, 2, 2), 100, dtype=torch.uint8)
    augmentation = Augmentation.draw(AugmentConfig(brightness=0.2), 5000, seed=0, epoch=0)
    factors = augmentation(images, torch.arange(5000))[:, 0, 0, 0].numpy() / 100
    assert stats.kstest(factors, stats.uniform(0.8, 0.4).cdf).pvalue > 0.001


def test_cutout_reaches_every_pixel_and_is_clipped_at_the_border() -> None:
    images = torch.full((4000, 1, 16, 16), 1, dtype=torch.uint8)
    changed = Augmentation.draw(AugmentConfig(cutout=0.25), 4000, 0, 0)(images, torch.arange(4000))
    num_black = (changed == 0).sum(dim=(1, 2, 3))
    assert set(num_black.tolist()) <= {h * w for h in (2, 3, 4) for w in (2, 3, 4)}
    # Away from the border a pixel is covered by 16 of the 256 centres.
    covered = (changed == 0).float().mean(dim=(0, 1))[4:-4, 4:-4]
    assert (covered - 16 / 256).abs().max() < 4.5 * np.sqrt(16 / 256 / 4000)


# What a parameter depends on.


def test_the_batch_does_not_matter() -> None:
    images = torch.from_numpy(random_images(300, side=21))
    rng = np.random.default_rng(5)
    for config in (EVERYTHING, EVERYTHING.model_copy(update={"rotation": 0, "translation": 0, "zoom": 0})):
        augmentation = Augmentation.draw(config, 300, seed=2, epoch=7)
        together = augmentation(images, torch.arange(300))
        for i in range(0, 300, 7):
            assert torch.equal(augmentation(images[i : i + 1], torch.tensor([i]))[0], together[i])
        for size in (13, 150, 300):
            order = torch.from_numpy(rng.permutation(300))
            parts = [
                augmentation(images[part], part)
                for part in torch.tensor_split(order, tuple(range(size, 300, size)))
            ]
            assert torch.equal(torch.cat(parts), together[order])


def test_large_images_do_not_depend_on_the_batch() -> None:
    images = torch.from_numpy(random_images(3, side=301))
    augmentation = Augmentation.draw(EVERYTHING, 3, seed=2, epoch=7)
    together = augmentation(images, torch.arange(3))
    for i in range(3):
        assert torch.equal(augmentation(images[i : i + 1], torch.tensor([i]))[0], together[i])


def test_seed_and_epoch_decide_alone() -> None:
    def draw(seed: int, epoch: int, num_images: int = 100) -> dict[str, torch.Tensor]:
        return Augmentation.draw(EVERYTHING, num_images, seed, epoch).parameters

    for name, values in draw(1, 2).items():
        assert torch.equal(values, draw(1, 2)[name])
        assert not torch.equal(values, draw(1, 3)[name]), name
        assert not torch.equal(values, draw(2, 2)[name]), name
        assert torch.equal(values, draw(1, 2, num_images=500)[name][:100]), name


@pytest.mark.parametrize("key", NAMES_BY_KEY)
def test_switching_one_off_leaves_the_others_alone(key: str) -> None:
    drawn = Augmentation.draw(EVERYTHING, 50, seed=0, epoch=0).parameters
    without = Augmentation.draw(EVERYTHING.model_copy(update={key: 0.0}), 50, seed=0, epoch=0).parameters
    assert drawn.keys() - without.keys() == NAMES_BY_KEY[key]
    assert all(torch.equal(without[name], drawn[name]) for name in without)


def test_nothing_switched_on_returns_the_pixels() -> None:
    images = torch.from_numpy(random_images(4))
    changed = Augmentation.draw(AugmentConfig(), 4, seed=0, epoch=0)(images, torch.arange(4))
    assert changed.dtype == torch.uint8
    assert torch.equal(changed, images)


def test_the_stored_images_are_left_alone() -> None:
    images = torch.from_numpy(random_images(4))
    before = images.clone()
    for config in (EVERYTHING, AugmentConfig(cutout=0.5), AugmentConfig(horizontal_flip=1)):
        Augmentation.draw(config, 4, seed=0, epoch=0)(images, torch.arange(4))
        assert torch.equal(images, before)


def test_the_tutorial_preset_goes_through_preprocessing() -> None:
    config = load_config(settings={"augment": "tutorial"}).augment
    augmentation = Augmentation.draw(config, 64, seed=0, epoch=0)
    assert augmentation.parameters.keys() == {"rotation", "brightness", "hue", "horizontal_flip"}
    changed = augmentation(torch.from_numpy(random_images(64)), torch.arange(64))
    normalised = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (32, 32))(changed)
    assert normalised.shape == (64, 3, 32, 32)
    torch.testing.assert_close(normalised, (changed / 255 - 0.5) / 0.25, rtol=0, atol=1e-5)
