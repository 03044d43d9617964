"""Samples, mistakes and confused pairs."""

import numpy as np
import pytest

from kilnet.errors import InputError
from kilnet.inspection.samples import (
    confident_mistakes,
    confused_examples,
    confused_pairs,
    sample_predictions,
)
from made_up_evaluations import six_images


@pytest.fixture
def six():
    return six_images()


def test_mistakes_are_the_wrong_ones_most_confident_first(six):
    found = confident_mistakes(six, 10)
    assert [sample.name for sample in found] == ["5.png", "3.png", "4.png", "1.png"]
    assert [sample.name for sample in confident_mistakes(six, 2)] == ["5.png", "3.png"]
    assert (found[0].truth, found[0].predicted) == ("frog", "cat")
    assert found[0].confidence == pytest.approx(np.exp(4) / (np.exp(4) + 2))
    np.testing.assert_array_equal(found[0].image, six.images.images[5])


def test_confusions(six):
    assert [s.name for s in confused_examples(six, "cat", "dog")] == ["3.png", "4.png", "1.png"]
    assert confused_examples(six, "dog", "cat") == ()
    with pytest.raises(InputError, match="no class 'frgo'; did you mean frog"):
        confused_examples(six, "cat", "frgo")
    pairs = confused_pairs(six, 5, count=2)
    assert [(p.truth, p.predicted, p.num_images, p.num_of_class) for p in pairs] == [
        ("cat", "dog", 3, 4),
        ("frog", "cat", 1, 2),
    ]
    assert [s.name for s in pairs[0].samples] == ["3.png", "4.png"]


def test_samples_are_the_same_for_the_same_seed(six):
    names = [sample.name for sample in sample_predictions(six, 6, seed=3)]
    assert sorted(names) == sorted(six.images.names)
    assert [sample.name for sample in sample_predictions(six, 2, seed=3)] == names[:2]
    assert [sample.name for sample in sample_predictions(six, 6, seed=4)] != names
