"""What a record says of validation images, beside scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from kilnet.training.validation import validation_numbers


@pytest.mark.parametrize("select", ["loss", "macro-recall"])
def test_the_same_as_scikit_learn(select):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    logits = random.normal(size=(60, 3)).astype(np.float32)
    found = validation_numbers(torch.from_numpy(logits), torch.from_numpy(labels), 3, select)
    probabilities = torch.from_numpy(logits).double().softmax(1).numpy()
    assert found["validation_loss"] == pytest.approx(log_loss(labels, probabilities), abs=1e-12)
    assert found["validation_accuracy"] == accuracy_score(labels, logits.argmax(1))
    assert (found["num_validation_correct"], found["num_validation"]) == (
        (logits.argmax(1) == labels).sum(),
        60,
    )
    if select == "loss":
        assert "validation_macro_recall" not in found
    else:
        recall = balanced_accuracy_score(labels, logits.argmax(1))
        assert found["validation_macro_recall"] == pytest.approx(recall)


def test_a_class_without_images_counts_as_never_found():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    found = validation_numbers(logits, torch.tensor([0, 1]), 3, "macro-recall")
    assert found["validation_macro_recall"] == pytest.approx(2 / 3)
