"""What a last layer gets, and what one says of images that it was not fitted to."""

import numpy as np
import pytest
from torch import nn

from inspected import CLASSES, built, classifier_of
from kilnet.data.dataset import Split
from kilnet.errors import ModelError
from kilnet.inspection.label_errors import label_errors
from kilnet.inspection.last_layer import held_out_logits, last_features
from kilnet.metrics.logits import softmax

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["ResNet", "ConfigNet"])
def test_features_times_weights_are_the_logits(name):
    classifier = built(name)
    images = RANDOM.integers(0, 256, (130, 3, 16, 16), np.uint8)  # more than a batch
    features = last_features(classifier, images)
    last = [layer for layer in classifier.model.modules() if isinstance(layer, nn.Linear)][-1]
    weights, biases = last.weight.detach().numpy(), last.bias.detach().numpy()
    np.testing.assert_allclose(features @ weights.T + biases, classifier.logits(images), atol=1e-4)


def test_a_network_without_a_last_linear_layer_is_said():
    model = nn.Sequential(nn.Conv2d(3, len(CLASSES), 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ModelError, match="does not end in a"):
        last_features(classifier_of(model, (3, 16, 16)), np.zeros((1, 3, 16, 16), np.uint8))


def clusters(num=120):
    """Features in three clusters, their true labels, and images that are all different."""
    truth = np.arange(num) % 3
    features = (np.eye(3)[truth] * 4 + RANDOM.normal(0, 1, (num, 3))).astype(np.float32)
    images = RANDOM.integers(0, 256, (num, 1, 4, 4), np.uint8)
    return features, truth.astype(np.int64), images


def test_wrong_labels_are_found_without_training_again():
    features, truth, images = clusters()
    labels = truth.copy()
    labels[:10] = (labels[:10] + 1) % 3
    split = Split(images, labels, tuple(map(str, range(len(labels)))))
    logits = held_out_logits(features, split, 3)
    suspects = set(label_errors(softmax(logits), labels).ranking[:10].tolist())
    assert len(suspects & set(range(10))) >= 9


def test_pictures_of_one_group_do_not_vouch_for_each_other():
    features, truth, images = clusters(60)
    labels = truth.copy()
    labels[:6] = (truth[0] + 1) % 3
    features = np.concatenate([features, np.zeros((60, 1), np.float32)], 1)
    features[:6] = [0, 0, 0, 9]  # six copies unlike all others, with one label
    groups = np.concatenate([np.zeros(6, np.int64), np.arange(1, 55)])
    names = tuple(map(str, range(60)))
    alone = held_out_logits(features, Split(images, labels, names, groups), 3)[:6]
    vouched = held_out_logits(features, Split(images, labels, names), 3)[:6]
    own = np.arange(6), labels[:6]
    assert softmax(alone)[own].mean() < softmax(vouched)[own].mean() - 0.1
