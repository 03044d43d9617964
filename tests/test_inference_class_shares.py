"""Classes that are more or less common than in training, against Bayes' rule."""

from dataclasses import replace

import numpy as np
import pytest

import kilnet
from kilnet.errors import InputError
from kilnet.inference.class_shares import parse_shares, shift_of_logits
from kilnet.metrics.logits import softmax
from small_runs import make_dataset, train

CLASSES = ("cat", "dog", "eel")
LEARNED = np.array([0.5, 0.3, 0.2])


def test_probabilities_are_those_of_bayes_rule():
    # Of each picture the network knows how likely it is to come from each class; only the shares differ.
    likelihoods = np.random.default_rng(0).random((50, 3))
    before = likelihoods * LEARNED
    logits = np.log(before / before.sum(1, keepdims=True))
    wanted = np.array([0.1, 0.1, 0.8])
    after = likelihoods * wanted
    shift = shift_of_logits(CLASSES, {"eel": 8, "dog": 1, "cat": 1}, np.log(LEARNED))
    np.testing.assert_allclose(softmax(logits + shift), after / after.sum(1, keepdims=True))
    equal = softmax(logits + shift_of_logits(CLASSES, "equal", np.log(LEARNED)))
    np.testing.assert_allclose(equal, likelihoods / likelihoods.sum(1, keepdims=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat=0.2,dog=0.8", "'eel' is missing"),
        ("cat=1,dog=1,eel=1,fox=1", "knows no 'fox'"),
        ("cat=0,dog=1,eel=1", "'cat' has the share 0.0; it must be above 0"),
        ("cat=nan,dog=1,eel=1", "'cat' has the share nan"),
        ("cat", "'cat' is no share"),
        ("cat=a", "'cat=a' is no share"),
    ],
)
def test_what_are_no_shares_is_one_line(text, message):
    with pytest.raises(InputError, match=message):
        shift_of_logits(CLASSES, parse_shares(text), np.log(LEARNED))


def test_shares_are_read():
    assert parse_shares(" equal ") == "equal"
    assert parse_shares("a=b=0.5, c d=1e-3") == {"a=b": 0.5, "c d": 0.001}


def test_a_run_is_used_where_one_class_is_rare(tmp_path, no_figures):
    dataset = make_dataset()
    dataset = replace(dataset, train=dataset.train.take(np.flatnonzero(np.arange(60) % 6 != 1)))  # 30 and 20
    run = train(tmp_path / "run", dataset)
    images = list(dataset.test.images)
    plain = kilnet.load(run)
    before = plain(images)
    rarely = kilnet.load(run.folder, class_shares={"dark": 99, "light": 1})(images)
    for one, other in zip(before, rarely, strict=True):
        was, now = (dict(zip(p.classes, p.probabilities, strict=True)) for p in (one, other))
        assert now["light"] / now["dark"] == pytest.approx(was["light"] / was["dark"] * (1 / 99) / (20 / 30))
    balanced = train(tmp_path / "balanced", dataset, **{"training.balance": "logits"})
    np.testing.assert_allclose(balanced.learned_shares, np.log([0.5, 0.5]))
