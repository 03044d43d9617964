"""Loading a run as a classifier."""

from pathlib import Path

from kilnet.inference.classifier import Classifier
from kilnet.runs.run import Run
from kilnet.verbs.winner import opened_or_winner


def load(run: Run | str | Path, *, model: str | None = None) -> Classifier:
    """Load the best weights of a run with classes, preprocessing and calibration; nothing in the folder is executed.

    Called with pictures it returns predictions: `kilnet.load("runs/demo")("cat.jpg")`.

    Args:
        run: what `train` returned, its folder, or that of a search, whose winner is loaded.
        model: "package.module:builder", if the run in a folder is of a network of your own: only what is named
            is imported.

    Raises:
        RunFolderError: there is no run, it has no weights yet, or its network must be named.
    """
    return opened_or_winner(run, model).calibrated_classifier()
