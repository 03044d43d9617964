"""The last layer of a pretrained network, compared with scikit-learn on the features as they are."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from kilnet.training.head import fit_head


def made_up(num_images=120, num_features=40, num_classes=3, seed=0):
    """Return features whose first few tell the class, with very unlike spreads and means, and the labels."""
    stream = np.random.default_rng(seed)
    labels = np.arange(num_images) % num_classes
    centres = stream.normal(size=(num_classes, num_features)) * (np.arange(num_features) < 5)
    seen = centres[labels] + stream.normal(size=(num_images, num_features))
    seen = seen * np.linspace(0.5, 5, num_features) + np.linspace(-3, 3, num_features)
    return seen.astype(np.float16), labels.astype(np.int64)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("num_features", [40, 300])  # fewer and more than images
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_solution_is_that_of_scikit_learn_on_scaled_features(num_classes, num_features, is_weighted):
    seen, labels = made_up(num_classes=num_classes, num_features=num_features)
    head = torch.nn.Linear(num_features, num_classes)
    counts = np.linspace(0, 2, 120).astype(np.float32) if is_weighted else None
    fitted = fit_head(head, seen, labels, counts)
    flat = seen.astype(np.float64)
    mean, spread = flat.mean(0), np.sqrt(flat.var(0).mean())
    theirs = LogisticRegression(C=1 / fitted.penalty, max_iter=5000, tol=1e-8).fit(
        (flat - mean) / spread, labels, counts
    )
    others = np.random.default_rng(1).normal(size=(50, num_features)) * flat.std(0) + mean
    expected = theirs.predict_proba((others - mean) / spread)
    answers = head(torch.from_numpy(others).float()).softmax(1).detach().numpy()
    np.testing.assert_allclose(answers, expected, atol=0.02)


def test_loss_and_correct_answers_are_those_of_the_layer():
    seen, labels = made_up()
    head = torch.nn.Linear(40, 3)
    fitted = fit_head(head, seen, labels)
    logits = head(torch.from_numpy(seen).float()).detach()
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="sum")
    assert fitted.loss_sum == pytest.approx(float(loss), rel=1e-4)
    assert fitted.num_correct == int((logits.argmax(1).numpy() == labels).sum())
    assert fitted.num_images == 120


def test_features_without_meaning_get_a_strong_penalty_and_clear_ones_a_weak_one():
    stream = np.random.default_rng(0)
    labels = np.arange(200) % 2
    noise = stream.normal(size=(200, 30)).astype(np.float16)
    clear = noise.copy()
    clear[:, 0] += 8 * labels
    penalties = [fit_head(torch.nn.Linear(30, 2), seen, labels).penalty for seen in (noise, clear)]
    assert penalties[0] == 1000
    assert penalties[1] < 30


def test_the_penalty_is_one_for_pictures_of_new_groups():
    stream = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    labels = (groups % 2).astype(np.int64)
    centres = 3 * stream.normal(size=(40, 30))  # tell groups, not classes
    seen = centres[groups] + stream.normal(size=(400, 30))
    fitted = [
        fit_head(torch.nn.Linear(30, 2), seen.astype(np.float16), labels, groups=known)
        for known in (None, groups, np.arange(400))
    ]
    assert fitted[0].left_out_loss < 0.3, "pictures of the same group tell the class"
    assert fitted[1].left_out_loss > 0.6, "of a new group there is nothing to tell"
    assert fitted[0].penalty < 30
    assert fitted[1].penalty == 1000
    assert fitted[2] == fitted[0], "a picture in each group is as good as none"


def test_it_gives_the_same_bytes_each_time():
    heads = []
    for _ in range(2):
        head = torch.nn.Linear(40, 3)
        fit_head(head, *made_up())
        heads.append(head)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert torch.equal(heads[0].bias, heads[1].bias)


def test_a_constant_feature_and_a_class_with_a_single_image_are_no_obstacle():
    seen, labels = made_up(num_images=31)
    seen[:, 7] = 1.0
    labels[labels == 2] = 1
    labels[0] = 2
    head = torch.nn.Linear(40, 3)
    fitted = fit_head(head, seen, labels)
    assert torch.isfinite(head.weight).all()
    assert fitted.num_images == 31


def test_without_time_the_penalty_is_the_usual_one_and_with_enough_that_of_cross_validation():
    seen, labels = made_up()
    heads = [torch.nn.Linear(40, 3) for _ in range(3)]
    unhurried = fit_head(heads[0], seen, labels)
    assert 0 < unhurried.left_out_loss < np.log(3)
    assert fit_head(heads[1], seen, labels, left=lambda: 1e3) == unhurried
    assert torch.equal(heads[0].weight, heads[1].weight)
    hurried = fit_head(heads[2], seen, labels, left=lambda: 0.0)
    assert (hurried.penalty, hurried.left_out_loss) == (30.0, np.inf)
    assert hurried.num_correct > 60  # of 120, in three classes
