"""Do the intervals hold what they promise? Against simulation, and against the textbook where that applies."""

import math

import numpy as np
import pytest
from scipy import stats

from kilnet.training.records import EpochRecord
from kilnet.tuning.finalists import Estimate, choose_finalists, compare_finalists, estimate
from kilnet.tuning.trial import Trial


def crossed(random, num_seeds, num_images, by_seed, by_image, rest):
    """A table of two crossed random effects around 0.7."""
    return (
        0.7
        + by_seed * random.standard_normal((num_seeds, 1))
        + by_image * random.standard_normal((1, num_images))
        + rest * random.standard_normal((num_seeds, num_images))
    )


@pytest.mark.parametrize(
    ("num_seeds", "num_images", "by_seed", "by_image", "rest"),
    [
        (3, 300, 0.02, 0.3, 0.2),  # as in a search: few seeds, many images
        (3, 300, 0.02, 0.0, 0.3),  # the seeds alone matter
        (3, 300, 0.002, 0.4, 0.1),  # the images alone matter
        (5, 100, 0.03, 0.3, 0.3),
        (2, 200, 0.01, 0.3, 0.3),
        (10, 50, 0.05, 0.35, 0.1),
    ],
)
def test_95_percent_means_95_percent(num_seeds, num_images, by_seed, by_image, rest):
    random = np.random.default_rng(7)
    num_tables = 2000
    num_covered = 0
    for _ in range(num_tables):
        found = estimate(crossed(random, num_seeds, num_images, by_seed, by_image, rest))
        num_covered += found.low <= 0.7 <= found.high
    # 2,000 tables know the coverage to half a point; the degrees of freedom are an approximation.
    assert 0.935 <= num_covered / num_tables <= 0.985


def test_right_and_wrong_images_too():
    """Tables of bool, as finalists have them: accuracies around 0.85 that depend on seed and image."""
    random = np.random.default_rng(3)
    nodes = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    truth = stats.norm.cdf((1.5 + nodes) / math.sqrt(1 + 0.1**2)).mean()
    num_covered = 0
    for _ in range(1500):
        logit = 1.5 + 0.1 * random.standard_normal((3, 1)) + random.standard_normal((1, 200))
        found = estimate(random.random((3, 200)) < stats.norm.cdf(logit))
        num_covered += found.low <= truth <= found.high
    assert 0.93 <= num_covered / 1500 <= 0.985


def test_a_comparison_is_paired_by_image():
    """What is hard for both says nothing about their difference."""
    random = np.random.default_rng(0)
    hard = random.random((1, 400)) < 0.3
    slips = random.random((2, 3, 400))
    first, second = ~hard & (slips[0] < 0.99), ~hard & (slips[1] < 0.9)
    paired = estimate(first.astype(np.int8) - second)
    apart = estimate(first), estimate(second)
    assert paired.low > 0
    assert apart[1].high > apart[0].low
    assert paired.mean == pytest.approx(first.mean() - second.mean())


def test_one_seed_is_the_normal_interval_over_images():
    right = np.random.default_rng(0).random((1, 179)) < 0.9
    found = estimate(right)
    low, high = stats.norm.interval(0.95, right.mean(), stats.sem(right[0].astype(float)))
    assert (found.low, found.high, found.num_seeds) == (pytest.approx(low), pytest.approx(high), 1)


def test_seeds_that_agree_on_every_image_are_the_normal_interval_over_images():
    right = np.random.default_rng(0).random(179) < 0.9
    found = estimate(np.stack([right] * 3))
    low, high = stats.norm.interval(0.95, right.mean(), stats.sem(right.astype(float)))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_images_that_are_all_alike_are_the_t_interval_over_seeds():
    by_seed = np.array([0.70, 0.73, 0.69, 0.74])
    found = estimate(np.tile(by_seed[:, None], (1, 50)))
    low, high = stats.t.interval(0.95, 3, by_seed.mean(), stats.sem(by_seed))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_a_difference_by_seed_alone_is_the_paired_t_test():
    first, second = np.array([0.80, 0.82, 0.79]), np.array([0.77, 0.80, 0.79])
    found = estimate(np.tile((first - second)[:, None], (1, 40)))
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_variance_by_the_textbook():
    """The mean squares of a two-way table, by plain loops."""
    table = np.random.default_rng(1).random((3, 7))
    seeds, images = range(3), range(7)
    grand = sum(table[s, i] for s in seeds for i in images) / 21
    row = [sum(table[s, i] for i in images) / 7 for s in seeds]
    column = [sum(table[s, i] for s in seeds) / 3 for i in images]
    ms_seed = 7 * sum((r - grand) ** 2 for r in row) / 2
    ms_image = 3 * sum((c - grand) ** 2 for c in column) / 6
    ms_rest = sum((table[s, i] - row[s] - column[i] + grand) ** 2 for s in seeds for i in images) / 12
    total = ms_seed + max(ms_image - ms_rest, 0)
    reach = stats.t.ppf(0.975, 2 * (total / ms_seed) ** 2) * math.sqrt(total / 21)
    found = estimate(table)
    assert (found.mean, found.low, found.high) == pytest.approx((grand, grand - reach, grand + reach))


def test_no_difference_at_all_is_an_interval_of_nothing():
    found = estimate(np.zeros((3, 20), np.int8))
    assert (found.mean, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1)])
def test_a_single_image_says_nothing(shape):
    found = estimate(np.ones(shape, bool))
    assert (found.mean, found.low, found.high) == (1.0, 0.0, 1.0), "nothing is ruled out"


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (5,)])
def test_no_table(shape):
    with pytest.raises(ValueError, match="no table of seeds and images"):
        estimate(np.ones(shape, bool))


# --- finalists


def table(accuracy, num_images=100, start=0):
    """The first so many images are right, from `start` on."""
    right = np.zeros(num_images, bool)
    right[start : start + round(accuracy * num_images)] = True
    return right


def test_ranked_by_the_mean_and_compared_with_the_best():
    correct = {
        4: {1: table(0.50), 2: table(0.52)},
        7: {1: table(0.90), 2: table(0.88)},
        2: {1: table(0.90), 2: table(0.86)},
    }
    finals = compare_finalists(correct)
    assert [final.number for final in finals] == [7, 2, 4]
    assert [final.accuracy.mean for final in finals] == pytest.approx([0.89, 0.88, 0.51])
    assert finals[0].behind is None
    assert finals[0].is_tied
    assert [final.behind.mean for final in finals[1:]] == pytest.approx([0.01, 0.38])
    assert [final.is_tied for final in finals[1:]] == [True, False]


def test_equals_are_tied_and_the_first_wins():
    correct = {number: {1: table(0.8), 2: table(0.8)} for number in (9, 3, 5)}
    finals = compare_finalists(correct)
    assert [final.number for final in finals] == [3, 5, 9]
    assert all(final.is_tied for final in finals)


def test_only_seeds_that_all_have():
    correct = {0: {1: table(0.8), 2: table(0.1), 3: table(0.8)}, 1: {1: table(0.7), 3: table(0.7)}}
    finals = compare_finalists(correct)
    assert [(f.number, f.accuracy.num_seeds) for f in finals] == [(0, 2), (1, 2)]
    assert [f.accuracy.mean for f in finals] == pytest.approx([0.8, 0.7])


def test_finalists_without_any_seed_are_left_out():
    assert [final.number for final in compare_finalists({0: {}, 1: {1: table(0.7)}})] == [1]
    assert compare_finalists({0: {}, 1: {}}) == []
    assert compare_finalists({}) == []


def test_without_a_common_seed_the_one_with_the_most():
    correct = {0: {1: table(0.9)}, 1: {2: table(0.7), 3: table(0.7)}}
    assert [(f.number, f.accuracy.num_seeds) for f in compare_finalists(correct)] == [(1, 2)]


def make_trial(number, *accuracies, num_epochs=9, failed=False):
    records = tuple(
        EpochRecord(epoch, 0.1, 1.0, 0.5, 1 / epoch, accuracy, 0, 0, True)
        for epoch, accuracy in enumerate(accuracies, 1)
    )
    return Trial(
        number=number,
        values={},
        history=records,
        reasons=("why",) if failed else (),
        failed=failed,
        num_epochs=num_epochs,
        patience=None,
        min_delta=0.0,
    )


def test_those_that_came_further_are_finalists_first():
    trials = [
        make_trial(0, 0.99),
        make_trial(1, *[0.5] * 9),
        make_trial(2, *[0.6] * 3),
        make_trial(3, *[0.7] * 9),
        make_trial(4, *[0.999] * 9, failed=True),
        make_trial(5, *[0.65] * 4),  # a rung is reached or not; epochs in between count for nothing
        make_trial(6),
    ]
    numbers = [trial.number for trial in choose_finalists(trials, (1, 3, 9), 9)]
    assert numbers == [3, 1, 5, 2, 0]
    assert [trial.number for trial in choose_finalists(trials, (1, 3, 9), 2)] == [3, 1]


# scipy.stats.binomtest(0, 200).proportion_ci(0.95, method="wilson").high, SciPy 1.17
WILSON_0_OF_200 = 0.018845326377266575


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_where_nothing_or_everything_is_right_the_interval_has_a_width_within_0_and_1(num_seeds):
    nothing = estimate(np.zeros((num_seeds, 200), bool))
    assert (nothing.mean, nothing.low, nothing.high) == pytest.approx((0, 0, WILSON_0_OF_200), abs=1e-15)
    everything = estimate(np.ones((num_seeds, 200), bool))
    assert (everything.mean, everything.low, everything.high) == pytest.approx(
        (1, 1 - WILSON_0_OF_200, 1), abs=1e-15
    )


def test_an_accuracy_stays_within_0_and_1_and_a_difference_within_minus_1_and_1():
    table = np.ones((2, 5), bool)
    table[0, 0] = False
    assert estimate(table).high == 1
    assert estimate(~table).low == 0
    assert estimate(-table.astype(np.int8)).low == -1
    assert estimate(table[:1, :1]) == Estimate(0.0, 0.0, 1.0, 1)
    assert estimate(table[:1, :1].astype(np.int8)) == Estimate(0.0, -1.0, 1.0, 1)


def test_seeds_that_are_right_on_opposite_images_have_a_width_too():
    found = estimate(np.array([[True, False] * 50, [False, True] * 50]))
    assert found.mean == 0.5
    assert found.low < 0.45 < 0.55 < found.high
