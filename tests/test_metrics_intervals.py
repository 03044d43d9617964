import pytest
from scipy.stats import binomtest

from kilnet.metrics.intervals import wilson_interval


@pytest.mark.parametrize(
    ("num_correct", "num_images"), [(0, 10), (1, 29), (81, 263), (7190, 10_000), (15, 15)]
)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_interval_matches_scipy(num_correct, num_images, confidence):
    expected = binomtest(num_correct, num_images).proportion_ci(confidence, method="wilson")
    low, high = wilson_interval(num_correct, num_images, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= num_correct / num_images <= high <= 1


def test_wilson_interval_matches_published_values():
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_where_nothing_or_everything_is_right_the_interval_has_a_width_within_0_and_1():
    # scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson"), SciPy 1.17
    for num_correct, num_images, expected in (
        (0, 1, (0, 0.7934506856227626)),
        (1, 1, (0.20654931437723745, 1)),
        (0, 60, (0, 0.06017185214208986)),
        (60, 60, (0.9398281478579101, 1)),
        (0, 10_000, (0, 0.00038399837067659573)),
    ):
        low, high = wilson_interval(num_correct, num_images)
        assert (low, high) == pytest.approx(expected, abs=1e-15)
        assert 0 <= low < high <= 1


def test_wilson_interval_of_nothing_is_everything():
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize("arguments", [(3, 2), (-1, 2), (1, 2, 1.0), (1, 2, 95)])
def test_wilson_interval_refuses_the_impossible(arguments):
    with pytest.raises(ValueError, match=r"cannot be|between 0 and 1"):
        wilson_interval(*arguments)
