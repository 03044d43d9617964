"""McNemar's exact test, against scipy's binomial one."""

import pytest
from scipy.stats import binomtest

from kilnet.inference.mcnemar import mcnemar


@pytest.mark.parametrize(("first", "second"), [(1, 0), (3, 9), (9, 3), (40, 40), (400, 300)])
def test_it_is_the_binomial_test_of_a_fair_coin(first, second):
    assert mcnemar(first, second) == pytest.approx(binomtest(first, first + second).pvalue)


def test_without_a_difference_there_is_no_evidence():
    assert mcnemar(0, 0) == 1.0
