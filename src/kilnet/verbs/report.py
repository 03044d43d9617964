"""A run or a search as one HTML page."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kilnet.data.dataset import SPLIT_NAMES
from kilnet.data.sources import NAMES, Data, source_of
from kilnet.errors import DataError, DownloadError
from kilnet.metrics.classification import Evaluation
from kilnet.page.run_page import run_page
from kilnet.runs.evaluation import read_evaluations
from kilnet.runs.listing import is_search
from kilnet.runs.run import Run, opened
from kilnet.storage import given_path, read_text, write_text
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.run_folder import RunFolder

if TYPE_CHECKING:  # with what a search needs, which the page of a run does without
    from kilnet.tuning.summary import Summary
    from kilnet.verbs.tune import Search


def report(
    run: "Run | Search | str | Path",
    *,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> Path:
    """Write `report.html` of a run or a search, one file that opens offline, and return its path.

    A run's page shows the test split if it has been evaluated, else the validation split, which is evaluated first
    where it has not been. Where the run's data cannot be had, the page is without pictures and says why. A search's
    page may be written while the search runs.

    Args:
        run: what `train` or `tune` returned, or the folder of a run or a search.
        data: the data that the run was trained on, if it cannot be loaded by its name.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: see `load`.
        progress: whether to show progress on standard error.

    Raises:
        KilnetError: see `kilnet.errors`; an older page is untouched.
    """
    if isinstance(run, Run) or (isinstance(run, str | Path) and not is_search(given_path(run))):
        return _report_run(opened(run, model), data, data_dir, progress)
    from kilnet.page.search_page import search_page
    from kilnet.tuning.search_folder import SearchFolder

    files = SearchFolder(given_path(run) if isinstance(run, str | Path) else run.folder)
    summary, evaluation = read_search(files.path)
    write_text(files.report_path, search_page(summary, files.environment(), evaluation))
    return files.report_path


def has_suspected_labels(path: Path) -> bool:
    """Whether `inspect` has named labels of a run that are probably wrong."""
    tables = [RunFolder(path).inspection_path(f"label-errors-{split}", "csv") for split in SPLIT_NAMES]
    with suppress(OSError, UnicodeDecodeError):
        return any(len(read_text(table).splitlines()) > 1 for table in tables if table.is_file())
    return False


def read_search(path: Path) -> "tuple[Summary, Evaluation | None]":
    """Return what a search has found so far, and its winner's test if that has been read.

    Raises:
        RunFolderError: there is no search, or a file is damaged.
    """
    from kilnet.tuning.search_folder import SearchFolder
    from kilnet.tuning.summary import summarise

    summary = summarise(path)
    for folder in (*SearchFolder(path).finetuned(), summary.winner_folder):
        if folder is not None and (read := read_evaluations(RunFolder(folder)).get("test")):
            return summary, Evaluation.from_dict(read)
    return summary, None


def _report_run(run: Run, data: Data | None, data_dir: str | None, progress: bool) -> Path:
    run.classifier.settings.apply()
    dataset, reason = None, ""
    with ProgressDisplay(enabled=progress) as display:
        try:
            dataset = run.own_data(data, data_dir, display.advance)
            display.warn(dataset.warnings)
        except (DataError, DownloadError) as error:
            reason = str(error)
            display.say(f"no pictures: {reason}")
        if dataset is not None and not run.evaluations().keys() & {"test", "validation"}:
            from kilnet.verbs.evaluate import record  # and matplotlib, which the page does without

            run.calibrate(dataset)
            record(run, run.evaluated("validation"))
        originals = _originals(run, data)
        page = run_page(run.files, run.classifier, dataset, reason, display.advance, originals)
    with run.files.locked():
        write_text(run.files.report_path, page)
    return run.files.report_path


def _originals(run: Run, data: Data | None) -> Path | None:
    """Return the folder of photographs that a run's data is read from; None where it is no folder."""
    source = run.config.data.source if data is None else data
    if not isinstance(source, str | Path) or source_of(source) in NAMES:
        return None
    folder = given_path(source)
    return folder if folder.is_dir() else None
