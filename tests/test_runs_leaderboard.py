"""Which runs may be the best, against a count by hand and a simulation."""

import numpy as np
from scipy.stats import binomtest

from kilnet.metrics.intervals import wilson_interval
from kilnet.runs.leaderboard import accuracy_interval, tied_with_best
from kilnet.runs.listing import ListedRun


def listed(num_right, num_images=1000, fingerprint="f", **values):
    values |= {"accuracy": num_right / num_images, "num_validation": num_images, "fingerprint": fingerprint}
    return ListedRun(path=None, kind="run", values={"num_validation_correct": num_right, **values})


def test_what_is_not_clearly_worse_is_tied_and_more_comparisons_tie_more():
    p_value = binomtest(round(930 * 0.1), round(930 * 0.1) + round(900 * 0.07)).pvalue
    assert 0.01 < p_value < 0.05
    assert tied_with_best([listed(930), listed(900)]) == {0}
    assert tied_with_best([listed(930), listed(900), *[listed(500)] * 8]) == {0, 1}


def test_only_runs_of_the_same_images_are_compared():
    alone = [listed(500, fingerprint="g"), listed(50, 100), ListedRun(path=None, kind="run", values={})]
    assert tied_with_best([listed(990), *alone, listed(985)]) == {0, 4}
    assert tied_with_best(alone) == set()


def test_the_truly_best_is_among_the_tied_in_95_of_100_cases():
    random = np.random.default_rng(0)
    missing = 0
    for _ in range(200):
        rights = random.binomial(300, [0.8] * 9 + [0.81])
        missing += 9 not in tied_with_best([listed(int(right), 300) for right in rights])
    assert missing <= 0.05 * 200


def test_the_interval_is_that_of_the_counts_or_of_the_search():
    assert accuracy_interval(listed(81, 263).values) == wilson_interval(81, 263)
    assert accuracy_interval({"interval": [0.1, 0.2]}) == (0.1, 0.2)
    assert accuracy_interval({"accuracy": 0.5}) is None
