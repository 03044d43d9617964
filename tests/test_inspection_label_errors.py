"""Suspected labels: made-up networks and labels, planted errors, and cleanlab."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kilnet.errors import InputError
from kilnet.inspection.label_errors import label_errors, listed, suspected_labels
from kilnet.metrics.logits import softmax
from made_up_evaluations import CLASSES, evaluated


def noisy(num_images, noise=0.06, temperature=1.0, seed=0):
    """Predictions of a calibrated network made more or less confident, labels of which some are wrong, and which."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (num_images, 4))
    truth = (logits + random.gumbel(size=logits.shape)).argmax(1)  # a class with its softmax probability
    wrong = random.random(num_images) < noise
    labels = np.where(wrong, (truth + random.integers(1, 4, num_images)) % 4, truth)
    return softmax(logits / temperature), labels, wrong


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.06, 0.3])
def test_planted_label_errors_are_counted_and_rank_first(noise, temperature):
    probabilities, labels, wrong = noisy(8000, noise, temperature)
    found = label_errors(probabilities, labels)
    assert found.num_wrong / 8000 == pytest.approx(wrong.mean(), abs=0.02)
    assert sorted(found.ranking) == list(range(8000))
    if noise:
        assert wrong[found.suspects].mean() > 0.7
        for low, high in ((0.2, 0.5), (0.5, 0.8)):  # a suspicion is a probability, if what it supposes holds
            those = (found.suspicion > low) & (found.suspicion < high)
            assert wrong[those].mean() == pytest.approx(found.suspicion[those].mean(), abs=0.12)


def test_a_network_that_has_learned_the_noise_still_ranks_the_labels():
    """Labels are drawn from what the network says of each picture: no fraction of wrong ones explains them better."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 8000)
    doubt = random.uniform(0, 0.8, (8000, 1))
    probabilities = (1 - doubt) * np.eye(4)[truth] + doubt * np.eye(4)[(truth + 1) % 4]
    labels = np.where(random.random(8000) < doubt[:, 0], (truth + 1) % 4, truth)
    found = label_errors(probabilities, labels)
    assert found.suspicion.max() < 0.01
    np.testing.assert_array_equal(found.given, probabilities[np.arange(8000), labels])
    places = np.argsort(found.ranking)
    assert roc_auc_score(labels != truth, -places) == pytest.approx(
        roc_auc_score(labels != truth, -found.given)
    )
    assert roc_auc_score(labels != truth, -places) > 0.65


def noisy_where_it_is_hard(share, seed=0):
    """Labels that are wrong where a picture is hard, and a network that has learned that, but not exactly."""
    random = np.random.default_rng(seed)
    num, odds = 6000, random.normal(0, 0.6, 6000)
    truth, rival = random.integers(0, 5, num), random.integers(1, 5, num)
    rival = (truth + rival) % 5
    low, high = -20.0, 20.0
    for _ in range(50):
        shift = (low + high) / 2
        low, high = (shift, high) if (1 / (1 + np.exp(-odds - shift))).mean() < share else (low, shift)
    chance = 1 / (1 + np.exp(-odds - shift))
    wrong = random.random(num) < chance
    seen = 1 / (1 + np.exp(-odds - shift - random.normal(0, 0.5, num)))[:, None]
    probabilities = 0.97 * ((1 - seen) * np.eye(5)[truth] + seen * np.eye(5)[rival]) + 0.03 / 5
    return probabilities, np.where(wrong, rival, truth), wrong


@pytest.mark.parametrize("share", [0.17, 0.4])
def test_the_share_of_wrong_labels_is_found_where_hard_pictures_have_more(share):
    probabilities, labels, wrong = noisy_where_it_is_hard(share)
    found = label_errors(probabilities, labels)
    assert found.wrong.share == pytest.approx(wrong.mean(), rel=0.2)
    assert found.wrong.at_random < found.wrong.share / 4
    assert found.doubt.mean() == pytest.approx(found.wrong.share, abs=1e-6)
    assert wrong[found.suspects].mean() > 0.7
    assert set(found.suspects) == set(np.flatnonzero(found.doubt > 0.5))
    aimed = found.cut(precision=0.8)
    assert len(aimed) > 0
    assert wrong[aimed].mean() >= 0.8


def test_the_share_is_that_of_confident_learning_and_its_interval_that_of_resampled_images():
    """Counted here label by label, and over images drawn again."""
    probabilities, labels, _ = noisy_where_it_is_hard(0.3)

    def counted(probabilities, labels):
        sure_from = [probabilities[labels == k, k].mean() for k in range(5)]
        sure = np.where(probabilities >= sure_from, probabilities, -1.0)
        is_sure, best = sure.max(1) > 0, sure.argmax(1)
        parts = [np.mean(best[is_sure & (labels == k)] != k) * np.mean(labels == k) for k in range(5)]
        return sum(parts)

    found = label_errors(probabilities, labels).wrong
    assert found.share == pytest.approx(counted(probabilities, labels), abs=1e-9)
    random = np.random.default_rng(0)
    again = [random.integers(0, 6000, 6000) for _ in range(200)]
    low, high = np.quantile([counted(probabilities[i], labels[i]) for i in again], (0.025, 0.975))
    assert found.low == pytest.approx(low, abs=0.005)
    assert found.high == pytest.approx(high, abs=0.005)
    assert found == label_errors(probabilities, labels).wrong


def test_the_share_of_mistakes_at_random_has_an_interval_that_covers():
    inside = []
    for seed in range(12):
        probabilities, labels, wrong = noisy(1500, 0.2, seed=seed)
        found = label_errors(probabilities, labels)
        assert found.wrong.share == found.wrong.at_random == pytest.approx(found.num_wrong / 1500)
        inside.append(found.wrong.low <= wrong.mean() <= found.wrong.high)
    assert np.mean(inside) >= 0.75


def test_an_aim_chooses_the_cut():
    probabilities, labels, wrong = noisy(8000, 0.15)
    found = label_errors(probabilities, labels)
    np.testing.assert_array_equal(found.cut(), found.suspects)
    assert not (~found.worth_a_look & (found.suspicion >= 0.1)).any()
    assert found.worth_a_look[found.suspects].all()
    assert found.worth_a_look[found.contradicted].all()
    for precision in (0.6, 0.8, 0.95):
        chosen = found.cut(precision=precision)
        assert wrong[chosen].mean() == pytest.approx(precision, abs=0.05)
    for recall in (0.3, 0.6, 0.9):
        chosen = found.cut(recall=recall)
        assert wrong[chosen].sum() / wrong.sum() == pytest.approx(recall, abs=0.05)
    assert len(found.cut(recall=1)) == 8000
    for aims, message in (
        ({"precision": 0.5, "recall": 0.5}, "`precision` and `recall` both choose the cut"),
        ({"precision": 0}, "`precision=0`: must be above 0"),
        ({"recall": 1.1}, "`recall=1.1`: must be above 0 and at most 1"),
    ):
        with pytest.raises(InputError, match=message):
            found.cut(**aims)


def test_the_whole_ranking_begins_with_the_suspects():
    labels = np.arange(300) % 3
    logits = 8.0 * (np.arange(3) == labels[:, None]) + np.random.default_rng(0).normal(size=(300, 3))
    labels[5] = 0
    split = evaluated(labels, logits)
    probabilities = softmax(split.logits)
    found = label_errors(probabilities, split.images.labels)
    ranked = listed("validation", split.images, CLASSES, probabilities, found, found.ranking)
    assert ranked[0].name == "5.png"
    assert len({one.name for one in ranked}) == 300
    suspicions = [one.suspicion for one in ranked]
    assert suspicions == sorted(suspicions, reverse=True)


def test_a_perfect_network_suspects_what_contradicts_it():
    labels = np.arange(300) % 3
    probabilities = np.where(np.arange(3) == labels[:, None], 0.98, 0.01)
    assert len(label_errors(probabilities, labels).suspects) == 0
    given = labels.copy()
    given[[7, 90]] = (labels[[7, 90]] + 1) % 3
    found = label_errors(probabilities, given)
    assert found.suspects.tolist() == [7, 90]
    assert found.suggested[[7, 90]].tolist() == labels[[7, 90]].tolist()


def test_a_network_that_knows_nothing_suspects_nothing():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    assert len(label_errors(np.full((400, 4), 0.25), labels).suspects) == 0


def test_cleanlab_ranks_alike():
    rank = pytest.importorskip("cleanlab.rank", reason="cleanlab is not installed")
    probabilities, labels, wrong = noisy(3000, seed=5)
    theirs = np.argsort(rank.get_label_quality_scores(labels, probabilities, method="self_confidence"))
    first = label_errors(probabilities, labels).ranking[: wrong.sum()]
    assert len(set(first) & set(theirs[: wrong.sum()])) > 0.95 * wrong.sum()


def test_a_class_without_labels_and_shapes_that_do_not_fit():
    probabilities, labels, _ = noisy(50)
    wider = np.hstack([probabilities, np.zeros((50, 1))])
    assert set(label_errors(wider, labels).suggested) <= {0, 1, 2, 3}
    with pytest.raises(InputError):
        label_errors(probabilities, labels[:-1])


def test_suspected_labels_say_where_and_what_instead():
    labels = np.arange(300) % 3
    logits = 8.0 * (np.arange(3) == labels[:, None]) + np.random.default_rng(0).normal(size=(300, 3))
    labels[5] = 0  # a frog
    split = evaluated(labels, logits)
    (found,) = suspected_labels("validation", split.images, CLASSES, softmax(split.logits))
    assert (found.split, found.name, found.label, found.suggested) == ("validation", "5.png", "cat", "frog")
    np.testing.assert_array_equal(found.image, split.images.images[5])
    assert found.confidence == pytest.approx(softmax(logits)[5, 2])
    assert found.suspicion > 0.5
