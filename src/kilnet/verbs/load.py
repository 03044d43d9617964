"""Loading a run as a classifier."""

from dataclasses import replace
from pathlib import Path

from kilnet.inference.class_shares import ClassShares, shift_of_logits
from kilnet.inference.classifier import Classifier
from kilnet.models import Builder
from kilnet.runs.run import Run
from kilnet.verbs.winner import opened_or_winner


def load(
    run: Run | str | Path, *, class_shares: ClassShares | None = None, model: str | Builder | None = None
) -> Classifier:
    """Load the best weights of a run with classes, preprocessing and calibration; nothing in the folder is executed.

    Called with pictures it returns predictions: `kilnet.load("runs/demo")("cat.jpg")`.

    Args:
        run: what `train` returned, its folder, or that of a search, whose winner is loaded.
        class_shares: how common each class is where the network is used, such as {"cat": 0.2, "dog": 0.8}, or "equal";
            by default as in training.
        model: "package.module:builder", or the function or class itself, if the run in a folder is of a network of
            your own: only what is named is imported.

    Raises:
        RunFolderError: there is no run, it has no weights yet, or its network must be named.
        InputError: a class is missing in `class_shares`, or a share is not above 0.
    """
    run = opened_or_winner(run, model)
    classifier = run.calibrated_classifier()
    if class_shares is None:
        return classifier
    shift = shift_of_logits(classifier.classes, class_shares, run.learned_shares)
    return replace(classifier, shift=shift)
