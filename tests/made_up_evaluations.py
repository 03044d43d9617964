"""Evaluations of networks that are made up."""

import numpy as np

from kilnet.data.dataset import Split
from kilnet.metrics.classification import Evaluation
from kilnet.runs.evaluation import EvaluatedSplit

CLASSES = ("cat", "dog", "frog")
NASTY = (
    'commas, and "quotes"',
    "two\r\nlines",
    "<script>alert(1)</script>",
    "[bold red]markup[/]",
    "$x^2$ and $",
    "قطة",
    "🐱",
    "猫" * 40,
    "\x1b[31mred\x07",
    "\u202eetihw",
)


def scores(num_classes, num_images=600, seed=0):
    """Logits and labels; the last of three or more classes has no images."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, max(num_classes - 1, 2), num_images)
    logits = random.normal(size=(num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += 2
    return logits, labels


def evaluate(classes, num_images=600, split="test"):
    return Evaluation.from_logits(split, classes, *scores(len(classes), num_images))


def evaluated(labels, logits, seed=0):
    random = np.random.default_rng(seed)
    labels, logits = np.asarray(labels), np.asarray(logits, np.float32)
    images = random.integers(0, 256, (len(labels), 3, 8, 8), np.uint8)
    split = Split(images, labels, tuple(f"{i}.png" for i in range(len(labels))))
    return EvaluatedSplit(Evaluation.from_logits("validation", CLASSES, logits, labels), split, logits)


def six_images():
    """Two right, four wrong: images 1, 3, 4 are cats taken for dogs, 5 a frog taken for a cat."""
    logits = [[5, 0, 0], [0, 1, 0], [0, 0, 2], [0, 3, 0], [0, 2, 0], [4, 0, 0]]
    return evaluated([0, 0, 2, 0, 0, 2], logits)
