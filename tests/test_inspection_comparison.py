"""Two networks on the same images."""

import numpy as np
import pytest
from scipy import stats

from kilnet.errors import InputError
from kilnet.inspection.comparison import PairedOutcome, disagreements, holm, paired_outcome
from made_up_evaluations import evaluated, six_images


@pytest.fixture
def six():
    return six_images()


def test_paired_outcomes_are_counted(six):
    better = six.logits.copy()
    better[[1, 3]] = [[9, 0, 0], [9, 0, 0]]  # right now
    better[0] = [0, 9, 0]  # wrong now
    other = evaluated(six.images.labels, better)
    outcome = paired_outcome(six, other)
    assert outcome == PairedOutcome(1, 1, 2, 2)
    assert outcome.difference == pytest.approx(1 / 6)
    found = disagreements(six, other)
    assert [(d.name, d.truth, d.first, d.second) for d in found] == [
        ("0.png", "cat", "cat", "dog"),
        ("1.png", "cat", "dog", "cat"),
        ("3.png", "cat", "dog", "cat"),
    ]


def test_other_images_are_not_compared(six):
    other = evaluated([0, 1], [[1, 0, 0], [0, 1, 0]])
    with pytest.raises(InputError, match="not evaluated on the same images"):
        paired_outcome(six, other)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (40, 70), (900, 1000)])
def test_the_p_value_is_the_binomial_tests(first, second):
    outcome = PairedOutcome(5000, first, second, 100)
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert outcome.p_value == pytest.approx(expected, rel=1e-9)


def test_the_interval_is_walds_for_many_images():
    outcome = PairedOutcome(600_000, 50_000, 70_000, 280_000)
    n, b, c = outcome.num_images, outcome.num_first, outcome.num_second
    half = 1.959964 * np.sqrt(b + c - (c - b) ** 2 / n) / n
    low, high = outcome.interval
    assert (low, high) == pytest.approx((0.02 - half, 0.02 + half), rel=2e-3)
    assert outcome.is_clear


def test_the_interval_covers_the_true_difference():
    random = np.random.default_rng(0)
    cells = np.array([0.6, 0.1, 0.16, 0.14])
    outcomes = [PairedOutcome(*map(int, counts)) for counts in random.multinomial(80, cells, 1500)]
    covered = np.mean([low <= 0.06 <= high for low, high in (o.interval for o in outcomes)])
    assert 0.935 <= covered <= 0.985


def test_the_interval_of_a_published_example():
    """Airway reactivity before and after a transplantation, in Fagerland, Lydersen and Laake 2014: -0.507 to -0.026."""
    outcome = PairedOutcome(1, 7, 1, 12)
    assert outcome.interval == pytest.approx((-0.507, -0.026), abs=5e-4)
    assert not outcome.is_clear  # by the exact test, p = 0.07


def test_intervals_at_the_edges():
    assert PairedOutcome(0, 10, 0, 0).interval[0] == -1
    low, high = PairedOutcome(10, 0, 0, 0).interval
    assert low < 0 < high
    first = PairedOutcome(30, 5, 12, 3)
    mirrored = PairedOutcome(30, 12, 5, 3)
    assert first.interval == pytest.approx(tuple(-bound for bound in reversed(mirrored.interval)))


def test_where_both_networks_get_everything_or_nothing_right_the_interval_has_a_width():
    high = 0.018845326377266575  # scipy.stats.binomtest(0, 200).proportion_ci(0.95, method="wilson").high, SciPy 1.17
    for counts in ((200, 0, 0, 0), (0, 0, 0, 200)):
        outcome = PairedOutcome(*counts)
        assert outcome.interval == pytest.approx((-high, high), abs=1e-15)
    for counts, difference in (((0, 0, 3, 0), 1), ((0, 3, 0, 0), -1)):
        low, high = PairedOutcome(*counts).interval
        assert -1 <= low < high <= 1
        assert difference in (low, high)


def test_p_values_are_corrected_for_their_number():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    random = np.random.default_rng(0)
    for size in (1, 2, 9):
        p_values = random.random(size) / 5
        ordered = sorted(p_values)
        by_definition = [
            max(min(1.0, (size - rank) * value) for rank, value in enumerate(ordered) if value <= p)
            for p in p_values
        ]
        assert holm(p_values.tolist()) == pytest.approx(by_definition)
    assert holm([]) == ()
