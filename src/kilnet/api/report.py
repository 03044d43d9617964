"""A run as one HTML page."""

from pathlib import Path

from kilnet.api.data import Data
from kilnet.api.opened import folder_of, open_run
from kilnet.api.run import Run, own_model
from kilnet.api.runs import evaluate
from kilnet.errors import DataError, DownloadError
from kilnet.evaluation import load_run
from kilnet.reporting.files import read_evaluations
from kilnet.reporting.page.run_page import run_page
from kilnet.reporting.progress import ProgressDisplay
from kilnet.storage import write_text


def report(
    run: Run | str | Path,
    *,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> Path:
    """Write a run's `report.html`, one file that opens without a network, and return its path.

    The page shows the test split if it has been evaluated, else the validation split, which is evaluated first where
    it has not been. Where the run's data cannot be had, the page is without pictures and says why.

    Args:
        run: what `train` returned, or its folder.
        data: the data that the run was trained on, if it cannot be loaded by its name.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: see `load`.
        progress: whether to show progress on standard error.

    Raises:
        KilnetError: see `kilnet.errors`; an older page is untouched.
    """
    folder = folder_of(run)
    classifier = load_run(folder.path, own_model(run, model))
    classifier.settings.apply()
    dataset, reason = None, ""
    with ProgressDisplay(enabled=progress) as display:
        try:
            dataset = open_run(run, data, data_dir, display, model).dataset
        except (DataError, DownloadError) as error:
            reason = str(error)
            display.say(f"no pictures: {reason}")
    if dataset is not None and not read_evaluations(folder.path).keys() & {"test", "validation"}:
        evaluate(folder.path, "validation", data=dataset, model=own_model(run, model), progress=progress)
    with ProgressDisplay(enabled=progress) as display:
        page = run_page(folder, classifier, dataset, reason, display.advance)
    path = folder.path / "report.html"
    with folder.locked():
        write_text(path, page)
    return path
