"""Strangeness and how it is measured, against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy, pearsonr
from sklearn.metrics import roc_auc_score, roc_curve

from kilnet.errors import InputError
from kilnet.inference.unknown import KnownPictures, measure

RANDOM = np.random.default_rng(0)


def with_strength(logits, mean):
    return np.column_stack([logits, RANDOM.normal(mean, 0.1, len(logits))]).astype(np.float32)


@pytest.fixture(scope="module")
def pictures():
    """Known pictures that the network is surer of the higher their class, and weaker unknown ones: logits, evidence."""
    labels = RANDOM.integers(0, 6, 2999)
    known = RANDOM.normal(0, 1, (2999, 6))
    known[np.arange(2999), labels] += 3 + labels
    unknown = RANDOM.normal(0.3, 2, (300, 6)).round(2)
    evidence = with_strength(known, 1.0)
    evidence[:, -1] += 0.5 * softmax(known, 1).max(1)
    return (known, evidence), (unknown, with_strength(unknown, 1.2))


def test_strangeness_is_the_entropy_beside_its_class_and_the_lack_of_strength(pictures):
    (logits, evidence), (others, unknown) = pictures
    kept = KnownPictures.fit(evidence)
    unclear, found = entropy(softmax(logits, 1), axis=1), logits.argmax(1)
    expected = entropy(softmax(others, 1), axis=1)
    for label in range(6):
        own = unclear[found == label]
        mean, deviation = own.mean(), own.std()
        here = others.argmax(1) == label
        expected[here] = (expected[here] - mean) / deviation
        unclear[found == label] = (own - mean) / deviation
    strength = evidence[:, -1]
    together = -pearsonr(unclear, strength).statistic
    assert together > 0.2
    expected -= together * (unknown[:, -1] - strength.mean()) / strength.std()
    np.testing.assert_allclose(kept.strangeness(unknown), expected, rtol=0.05, atol=0.05)
    assert kept.usual == tuple(sorted(kept.usual, reverse=True)), "the higher the class, the surer"


def test_a_class_of_one_image_is_taken_to_be_much_like_the_others():
    logits = RANDOM.normal(0, 1, (200, 3))
    logits[:, 2] = -9
    logits[0] = [0, 0, 0.1]
    kept = KnownPictures.fit(with_strength(logits, 1.0))
    others = entropy(softmax(logits, 1), axis=1).mean()
    assert kept.usual[2] == pytest.approx(others, abs=0.1)
    assert kept.spread[2] > 0
    empty = KnownPictures.fit(with_strength(logits[1:], 1.0))
    assert empty.usual[2] == pytest.approx(entropy(softmax(logits[1:], 1), axis=1).mean())


def test_strength_that_says_nothing_of_how_sure_the_network_is_does_not_count():
    logits = RANDOM.normal(0, 3, (4000, 4))
    unclear = entropy(softmax(logits, 1), axis=1)
    for strength, most in ((RANDOM.normal(1, 0.1, 4000), 0.06), (unclear, 0.0)):
        kept = KnownPictures.fit(np.column_stack([logits, strength]))
        assert 0 <= kept.weight * strength.std() <= most


def test_a_network_that_says_nothing_of_strength_is_judged_by_its_answers():
    logits = RANDOM.normal(0, 3, (300, 4))
    evidence = np.column_stack([logits, np.zeros(300)])
    strange = KnownPictures.fit(evidence).strangeness(evidence)
    assert np.isfinite(strange).all()
    assert np.corrcoef(strange, entropy(softmax(logits, 1), axis=1))[0, 1] > 0.9


def test_rounding_does_not_make_pictures_strange_that_all_look_the_same():
    logits = RANDOM.normal(0, 0.3, 1000) + np.zeros((1000, 1))
    logits[::20] += RANDOM.normal(0, 0.1, (50, 1000))  # to a network of dead units all but a few are alike
    evidence = np.column_stack([logits, np.where(np.arange(1000) % 20, 0, 1.0)])
    kept = KnownPictures.fit(evidence)
    rounded = evidence * (1 + RANDOM.uniform(-1e-6, 1e-6, evidence.shape))
    np.testing.assert_allclose(kept.strangeness(rounded), kept.strangeness(evidence), atol=1e-3)


def test_answers_that_leave_no_doubt_have_a_strangeness():
    evidence = np.column_stack([np.eye(3)[[0, 1, 2] * 20] * 1e4, np.ones(60)]).astype(np.float32)
    assert np.isfinite(KnownPictures.fit(evidence).strangeness(evidence)).all()


def test_the_figures_are_those_of_scikit_learn(pictures):
    known, unknown = pictures
    kept = KnownPictures.fit(known[1])
    found = measure(known, unknown, kept)
    truth = np.repeat([0, 1], [2999, 300])
    strange = np.concatenate([kept.strangeness(known[1]), kept.strangeness(unknown[1])])
    sure = np.concatenate([softmax(logits, 1).max(1) for logits, _ in pictures])
    assert found.auroc == pytest.approx(roc_auc_score(truth, strange))
    assert found.auroc_of_confidence == pytest.approx(roc_auc_score(truth, -sure))
    assert found.auroc > found.auroc_of_confidence
    passed, kept_share, _ = roc_curve(1 - truth, -strange, drop_intermediate=False)
    assert found.false_positives == pytest.approx(passed[np.flatnonzero(kept_share >= 0.95)[0]])
    assert found.num_unknown_found == round((1 - found.false_positives) * 300)
    assert "(by the highest softmax" in found.lines()[0]


def test_the_limit_keeps_the_stated_share_of_known_pictures(pictures):
    (_, evidence), _ = pictures
    kept = KnownPictures.fit(evidence)
    assert 0.95 <= (kept.strangeness(evidence) <= kept.limit).mean() <= 0.951


def test_no_pictures_are_refused(pictures):
    known, (logits, evidence) = pictures
    with pytest.raises(InputError, match="known and unknown pictures"):
        measure(known, (logits[:0], evidence[:0]), KnownPictures.fit(known[1]))
