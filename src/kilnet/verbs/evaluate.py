"""Evaluating a run."""

from pathlib import Path

from kilnet.data.dataset import ImageDataset, LabelledImages, split_name
from kilnet.data.sources import NAMES, Data, source_of
from kilnet.figures import charts as figures
from kilnet.metrics.classification import Evaluation
from kilnet.runs.evaluation import EvaluatedSplit, as_other_data, write_evaluation
from kilnet.runs.run import Run
from kilnet.runs.wording import why_it_differs
from kilnet.storage import given_path, make_folder
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.winner import opened_or_winner


def evaluate(
    run: Run | str | Path,
    split: str | None = None,
    *,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Evaluate a run's best weights, and write numbers and pictures into its folder.

    Writes evaluation.json (one entry per split, with how often it has been read), a folder of CSV files
    and `plots/`.

    Args:
        run: what `train` returned, its folder, or that of a search, whose winner is evaluated.
        split: "test" (the default for the run's own data), "validation" or "train"; for other data also "all",
            which is the default there.
        data: other data with the same class names, or some of them; any number of images.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: see `kilnet.load`.
        progress: whether to show progress on standard error.

    Raises:
        KilnetError: see `kilnet.errors`.
    """
    with ProgressDisplay(enabled=progress) as display:
        run = opened_or_winner(run, model, display.say)
        run.classifier.settings.with_all_threads().apply()
        if data is None:
            dataset: ImageDataset | LabelledImages = run.own_data(data_dir=data_dir, progress=display.advance)
        else:
            dataset = run.other_data(data, data_dir, display.advance)
        is_own = run.was_trained_on(dataset)
        split = split_name(split or ("test" if is_own else "all"))
        display.warn(dataset.warnings)
        if is_own and isinstance(dataset, ImageDataset):
            run.calibrate(dataset)
            found = run.evaluated(split, dataset)
            record(run, found)
            if split == "validation" and (
                line := why_it_differs(run.best, found.evaluation, run.config.views)
            ):
                display.say(line)
            return found.evaluation
        found = run.evaluated(split, dataset)
        found = record(run, found, dataset.name, _folder_of(data))
        if (name := f"{dataset.name} {split}") != found.evaluation.split:
            display.say(f"{found.evaluation.split}: {name} has been evaluated in another folder, and is kept")
    return found.evaluation


def _folder_of(data: Data | None) -> str | None:
    """Return the whole path of a folder of pictures; None for all other data."""
    if not isinstance(data, str | Path) or (source := source_of(data)) in NAMES:
        return None
    return str(given_path(source).resolve())


def evaluated(run: Run, split: str) -> EvaluatedSplit:
    """Evaluate a split of a run's own data; a reading of the test split is recorded as `evaluate` does."""
    found = run.evaluated(split)
    if split == "test":
        record(run, found)
    return found


def record(
    run: Run, found: EvaluatedSplit, name: str | None = None, source: str | None = None
) -> EvaluatedSplit:
    """Write an evaluation's numbers and pictures into a run's folder; the reading of the split is counted.

    Args:
        run: whose evaluation it is.
        found: what was evaluated.
        name, source: of other data than the run's own, see `as_other_data`.
    """
    files = run.files
    with files.locked():
        if name is not None:
            found = as_other_data(files, found, name, source)
        evaluation = found.evaluation
        make_folder(files.plots_path)
        for normalise in ("counts", "recall", "precision"):
            path = files.evaluation_plot(evaluation.split, f"confusion-{normalise}")
            figures.save(figures.confusion_matrix(evaluation, normalise), path)
        figures.save(figures.per_class(evaluation), files.evaluation_plot(evaluation.split, "per-class"))
        write_evaluation(
            files, found
        )  # last: who finds an evaluation makes neither it nor its pictures again
    return found
