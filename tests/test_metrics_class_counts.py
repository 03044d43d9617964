"""Weights and shares of classes against the formulas they come from, written out."""

import math

import numpy as np
import pytest

from kilnet.metrics.class_counts import image_weights, imbalance, log_shares, macro_recall_interval

COUNTS = np.array([5000, 500, 50, 0, 1])


def test_imbalance_is_that_of_the_classes_that_have_images():
    assert imbalance(COUNTS) == 5000
    assert imbalance(np.array([7, 7])) == imbalance(np.array([0, 0])) == 1


def test_an_image_weighs_the_inverse_of_its_class_s_effective_number_and_one_in_the_mean():
    weights = image_weights(COUNTS)
    effective = [sum(0.9999**i for i in range(n)) for n in COUNTS.tolist()]
    for one, other in ((0, 1), (1, 2), (0, 4)):
        assert weights[one] / weights[other] == pytest.approx(effective[other] / effective[one])
    assert weights[3] == 0
    assert (weights * COUNTS).sum() == pytest.approx(COUNTS.sum())
    np.testing.assert_allclose(image_weights(np.array([30, 30])), 1)


def test_shares_add_up_to_one_and_a_class_without_images_has_a_small_one():
    shares = np.exp(log_shares(COUNTS))
    assert shares.sum() == pytest.approx(1)
    assert shares[0] / shares[1] == pytest.approx(10)
    assert shares[4] / shares[3] == pytest.approx(2)


def test_a_sure_recall_has_no_width_and_none_is_no_knowledge():
    assert macro_recall_interval(np.array([0, 0]), np.array([0, 0]), 0.95) == (0, 1)
    assert macro_recall_interval(np.array([9, 0]), np.array([9, 4]), 0.95) == (0.5, 0.5)
    low, high = macro_recall_interval(np.array([50]), np.array([100]), 0.95)
    assert (low, high) == pytest.approx(
        (0.5 - 1.96 * math.sqrt(0.0025), 0.5 + 1.96 * math.sqrt(0.0025)), abs=0.02
    )
