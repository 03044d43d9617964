import numpy as np
import pytest
from scipy.special import log_softmax

from kilnet.errors import DivergedError, InputError
from kilnet.metrics.logits import LogitScale, scored, softmax


def test_class_probability_and_loss_match_scipy():
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 5
    labels = np.random.default_rng(1).integers(0, 4, 50)
    predicted, confidence, loss = scored("test", 4, logits, labels)
    expected = log_softmax(logits, axis=1)
    np.testing.assert_array_equal(predicted, expected.argmax(axis=1))
    np.testing.assert_allclose(confidence, np.exp(expected.max(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(loss, -expected[np.arange(50), labels], rtol=1e-12)
    np.testing.assert_allclose(softmax(logits), np.exp(expected), rtol=1e-12)


def test_a_scale_keeps_the_order_and_knows_no_common_offset():
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 5
    np.testing.assert_array_equal(LogitScale(0.5)(logits), 2 * logits)
    bent = LogitScale(0.5, 0.7)(logits)
    np.testing.assert_array_equal(bent.argsort(1), logits.argsort(1))
    np.testing.assert_allclose(LogitScale(0.5, 0.7)(logits + 3), bent, rtol=1e-10)
    by_hand = [3.0, -1.0, -2.0], [2 * 3**0.7, -2.0, -2 * 2**0.7]
    np.testing.assert_allclose(LogitScale(0.5, 0.7)(np.array(by_hand[:1]) + 1), by_hand[1:])
    assert (str(LogitScale(0.5)), str(LogitScale(0.5, 0.7))) == (
        "temperature 0.500",
        "power 0.70, temperature 0.500",
    )


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.0, -1.0), (np.inf, 1.0), ("1", 1.0), (1.0, None)])
def test_what_is_no_scale_is_refused(scale):
    with pytest.raises(ValueError, match=r"temperature|power"):
        LogitScale(*scale)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((3, 4)), np.zeros(3, np.int64)),
        (np.zeros((3, 2)), np.zeros(2, np.int64)),
        (np.zeros((2, 2)), np.array([0, 2])),
        (np.zeros((2, 2)), np.array([-1, 0])),
        (np.zeros((2, 2)), np.array([0.0, 1.0])),
    ],
)
def test_mismatched_input_is_refused(logits, labels):
    with pytest.raises(InputError, match=r"^holiday: (logits|labels)"):
        scored("holiday", 2, logits, labels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_diverged_network_is_not_scored(value):
    logits = np.zeros((5, 2))
    logits[2, 1] = value
    with pytest.raises(DivergedError, match="1 of 5 images"):
        scored("validation", 2, logits, np.zeros(5, np.int64))
