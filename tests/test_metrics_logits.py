import numpy as np
import pytest
from scipy.special import log_softmax

from kilnet.errors import DivergedError, InputError
from kilnet.metrics.logits import scored, softmax


def test_class_probability_and_loss_match_scipy():
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 5
    labels = np.random.default_rng(1).integers(0, 4, 50)
    predicted, confidence, loss = scored("test", 4, logits, labels)
    expected = log_softmax(logits, axis=1)
    np.testing.assert_array_equal(predicted, expected.argmax(axis=1))
    np.testing.assert_allclose(confidence, np.exp(expected.max(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(loss, -expected[np.arange(50), labels], rtol=1e-12)
    np.testing.assert_allclose(softmax(logits, 2.0), np.exp(log_softmax(logits / 2, axis=1)), rtol=1e-12)


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
