"""Evaluating a run."""

from dataclasses import replace
from pathlib import Path

from kilnet.config import DataConfig
from kilnet.data.dataset import split_name
from kilnet.data.sources import Data, in_memory, load_dataset, located
from kilnet.errors import DataError
from kilnet.figures import charts as figures
from kilnet.metrics import Evaluation
from kilnet.runs.evaluation import EvaluatedSplit, calibrated, data_of_run, evaluate_classifier, load_run
from kilnet.runs.evaluation_files import write_evaluation
from kilnet.runs.run import Run, folder_of, own_models
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.run_folder import RunFolder


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

    Writes evaluation.json (an entry a split, with how often the test split has been read), a folder of CSV files
    and `plots/`.

    Args:
        run: what `train` returned, or its folder.
        split: "test" (the default for the run's own data), "validation" or "train"; for other data also "all",
            which is the default there.
        data: other data with the same class names.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: "package.module:builder", if the run in a folder is of a network of your own: only what is named
            is imported.
        progress: whether to show progress on standard error.

    Raises:
        KilnetError: see `kilnet.errors`.
    """
    folder = RunFolder(folder_of(run))
    classifier = load_run(folder.path, own_models(run, model))
    classifier.settings.with_all_threads().apply()
    with ProgressDisplay(enabled=progress) as display:
        if data is None or isinstance(data, str | Path):
            source = None if data is None else located(DataConfig(source=str(data))).source
            wanted = data_of_run(folder, classifier, source, data_dir)
            dataset = load_dataset(wanted, display.advance)
        else:
            dataset = in_memory(data, folder.config().data, display.advance)
        is_own = dataset.fingerprint == folder.environment().get("data", {}).get("fingerprint")
        if data is None and not is_own:
            raise DataError(
                f"{dataset.name}: not the images that {folder.path} was trained on; its test images may have been "
                "trained on. Name the data with --data to evaluate on all of it"
            )
        split = split_name(split or ("test" if is_own else "all"))
        display.warn(dataset.warnings)
        evaluated = evaluate_classifier(classifier, dataset, split)
    entry = split if is_own else f"{dataset.name} {split}"
    evaluated = replace(evaluated, evaluation=replace(evaluated.evaluation, split=entry))
    record_evaluation(folder, evaluated)
    if is_own:
        calibrated(folder, dataset, own_models(run, model))
    return evaluated.evaluation


def record_evaluation(folder: RunFolder, evaluated: EvaluatedSplit) -> None:
    """Write an evaluation's numbers and pictures into a run's folder; the reading of the split is counted."""
    evaluation, images = evaluated.evaluation, evaluated.images
    with folder.locked():
        write_evaluation(folder.path, evaluation, images.names, evaluated.logits, images.labels)
        plots = folder.path / "plots"
        plots.mkdir(exist_ok=True)
        name = "-".join(evaluation.split.split())
        for normalise in ("counts", "recall", "precision"):
            figure = figures.confusion_matrix(evaluation, normalise)
            figures.save(figure, plots / f"confusion-{normalise}-{name}.png")
        figures.save(figures.per_class(evaluation), plots / f"per-class-{name}.png")
