"""Strangeness and how it is measured, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from kilnet.errors import InputError
from kilnet.inference.unknown import fit_limit, measure, strangeness
from kilnet.metrics.logits import softmax


@pytest.fixture(scope="module")
def logits():
    random = np.random.default_rng(0)
    known = random.normal(0, 1, (500, 6)).astype(np.float32)
    known[np.arange(500), random.integers(0, 6, 500)] += 4
    return known, random.normal(0.3, 1, (300, 6)).round(2).astype(np.float32)


def test_the_figures_are_those_of_scikit_learn(logits):
    known, unknown = logits
    found = measure(known, unknown, fit_limit(known))
    truth = np.repeat([0, 1], [500, 300])
    strange = np.concatenate([strangeness(known), strangeness(unknown)])
    sure = np.concatenate([softmax(known).max(1), softmax(unknown).max(1)])
    assert found.auroc == pytest.approx(roc_auc_score(truth, strange))
    assert found.auroc_of_confidence == pytest.approx(roc_auc_score(truth, -sure))
    passed, kept, _ = roc_curve(1 - truth, -strange, drop_intermediate=False)
    assert found.false_positives == pytest.approx(passed[np.flatnonzero(kept >= 0.95)[0]])
    assert found.num_unknown_found == round((1 - found.false_positives) * 300)
    assert "(by the highest softmax" in found.lines()[0]


def test_the_limit_keeps_the_stated_share_of_known_pictures(logits):
    known, unknown = logits
    limit = fit_limit(known)
    assert 0.95 <= (strangeness(known) <= limit).mean() <= 0.953
    assert measure(known, unknown, None).num_known_refused is None


def test_no_pictures_are_refused(logits):
    with pytest.raises(InputError, match="known and unknown pictures"):
        measure(logits[0], logits[1][:0], None)
