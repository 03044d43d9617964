"""Two images and their labels become one."""

import numpy as np
import torch
import torch.nn.functional as F

from kilnet.config import AugmentConfig
from kilnet.data.mixing import mixed, mixes

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 8, 12), dtype=np.uint8))
LABELS = torch.tensor([0, 1, 2, 2])


def mix(seed=0, **options):
    return mixed(PIXELS, F.one_hot(LABELS, 3).float(), AugmentConfig(**options), seed)


def test_nothing_is_mixed_unless_asked_for():
    assert not mixes(AugmentConfig())
    assert mixes(AugmentConfig(mixup=0.2))
    assert mixes(AugmentConfig(cutmix=1))


def test_mixup_adds_pixels_and_labels_in_the_same_shares():
    for seed in range(5):
        images, targets = mix(seed, mixup=1.0)
        share = float(targets[0, 0])
        torch.testing.assert_close(targets[0], torch.tensor([share, 0, 1 - share]))  # with the last one
        expected = share * PIXELS.float() + (1 - share) * PIXELS.flip(0).float()
        torch.testing.assert_close(images, expected)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_cutmix_replaces_a_rectangle_and_labels_in_its_proportion():
    shares = set()
    for seed in range(20):
        images, targets = mix(seed, cutmix=1.0)
        is_other = (images != PIXELS).any(1)[0]
        share = float(targets[0, 0])
        assert torch.equal(images[:, :, is_other], PIXELS.flip(0)[:, :, is_other].float())
        assert abs(float(is_other.float().mean()) - (1 - share)) < 0.02  # a pixel may be the same in both
        shares.add(share)
    assert len(shares) >= 8


def test_two_equal_images_of_a_class_stay_what_they_are():
    same = PIXELS[:1].repeat(2, 1, 1, 1)
    for options in ({"mixup": 1.0}, {"cutmix": 1.0}):
        images, targets = mixed(same, F.one_hot(torch.tensor([1, 1]), 3).float(), AugmentConfig(**options), 0)
        torch.testing.assert_close(images, same.float())
        assert targets.tolist() == [[0, 1, 0], [0, 1, 0]]


def test_a_seed_decides_and_both_kinds_take_turns():
    first, again = mix(3, mixup=1, cutmix=1), mix(3, mixup=1, cutmix=1)
    assert torch.equal(first[0], again[0])
    kinds = {bool((mix(seed, mixup=1, cutmix=1)[0] == PIXELS).float().mean() > 0.2) for seed in range(12)}
    assert kinds == {True, False}
