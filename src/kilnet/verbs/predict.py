"""Classifying pictures."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from kilnet.data.class_folders import Problem
from kilnet.inference.class_shares import ClassShares
from kilnet.inference.classifier import Classifier, Prediction
from kilnet.inference.picture_files import find_pictures, predict_files
from kilnet.runs.run import Run
from kilnet.verbs.load import load


def predict(
    run: Run | Classifier | str | Path,
    sources: Iterable[str | Path],
    *,
    class_shares: ClassShares | None = None,
    model: str | None = None,
) -> Iterator[Prediction | Problem]:
    """Classify files and folders of pictures; what cannot be used does not stop the others.

    Args:
        run: what `train` or `load` returned, or a run folder.
        sources: files, and folders, whose files are taken recursively in sorted order; read as they are needed.
        class_shares: see `load`; of a run, not of a classifier that was loaded.
        model: see `load`.

    Returns:
        In the order of the files a `Prediction` each, or a `Problem` with `path` and `reason`.

    Raises:
        RunFolderError: see `load`.
    """
    classifier = run if isinstance(run, Classifier) else load(run, class_shares=class_shares, model=model)
    classifier.settings.apply()
    return predict_files(classifier, find_pictures(sources))
