"""Using a run: loading it, asking it about pictures."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from kilnet.api.run import Run, folder_of, own_model
from kilnet.data.walk import Problem
from kilnet.serving.predict import Prediction, Predictor, find_pictures, load_predictor, predict_files


def load(run: Run | str | Path, *, model: str | None = None) -> Predictor:
    """Load the best weights of a run with classes, preprocessing and calibration; nothing in the folder is executed.

    Called with pictures it returns predictions: `kilnet.load("runs/demo")("cat.jpg")`.

    Args:
        run: what `train` returned, or its folder.
        model: "package.module:builder", if the run in a folder is of a network of your own: only what is named
            is imported.

    Raises:
        RunFolderError: there is no run, it has no weights yet, or its network must be named.
    """
    return load_predictor(folder_of(run), own_model(run, model))


def predict(
    run: Run | Predictor | str | Path, sources: Iterable[str | Path], *, model: str | None = None
) -> Iterator[Prediction | Problem]:
    """Classify files and folders of pictures; what cannot be used does not stop the others.

    Args:
        run: what `train` or `load` returned, or a run folder.
        sources: files, and folders, whose files are taken recursively in sorted order; read as they are needed.
        model: see `load`.

    Returns:
        In the order of the files a `Prediction` each, or a `Problem` with `path` and `reason`.

    Raises:
        RunFolderError: see `load`.
    """
    predictor = run if isinstance(run, Predictor) else load(run, model=model)
    predictor.settings.apply()
    return predict_files(predictor, find_pictures(sources))
