"""Which pictures are to be labelled next."""

import numpy as np

from kilnet.inspection.next_to_label import next_to_label

RANDOM = np.random.default_rng(0)


def made(num=200, num_uncertain=20):
    """Pictures of which the last ones are uncertain, each in a direction of its own."""
    probabilities = np.full((num, 3), 0.001)
    probabilities[np.arange(num), np.arange(num) % 3] = 0.998
    probabilities[-num_uncertain:] = [0.4, 0.35, 0.25]
    features = RANDOM.normal(0, 0.1, (num, 30))
    features[-num_uncertain:, :num_uncertain] += np.eye(num_uncertain) * 3
    return probabilities, features


def test_uncertain_pictures_come_first():
    chosen = next_to_label(*made(), 10)
    assert len(set(chosen.tolist())) == 10
    assert (chosen >= 180).mean() >= 0.9


def test_near_copies_are_not_chosen_together():
    probabilities, features = made()
    features[-10:] = features[-10]  # one picture ten times
    chosen = next_to_label(probabilities, features, 11)
    assert sum(place >= 190 for place in chosen.tolist()) == 1
    assert next_to_label(np.tile(probabilities[-1], (5, 1)), np.ones((5, 4)), 3).tolist() == [0]


def test_distances_are_those_of_the_gradients():
    """The second draw has the probabilities that the products themselves give."""
    probabilities, features = made(30, 6)
    slopes = probabilities.copy()
    slopes[np.arange(30), slopes.argmax(1)] -= 1
    gradients = np.einsum("nc,nf->ncf", slopes, features).reshape(30, -1)
    first = int((gradients**2).sum(1).argmax())
    squared = ((gradients - gradients[first]) ** 2).sum(1)
    drawn = [next_to_label(probabilities, features, 2, seed) for seed in range(400)]
    assert {int(one[0]) for one in drawn} == {first}
    counts = np.bincount([int(one[1]) for one in drawn], minlength=30) / 400
    assert np.abs(counts - squared / squared.sum()).max() < 0.1
    assert (
        next_to_label(probabilities, features, 7, 3).tolist()
        == next_to_label(probabilities, features, 7, 3).tolist()
    )
