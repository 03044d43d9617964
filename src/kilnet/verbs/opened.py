"""A run with its weights and its own data, as looking into it needs them."""

from dataclasses import dataclass
from pathlib import Path

from kilnet.data.dataset import SPLIT_NAMES, ImageDataset, split_name
from kilnet.data.sources import Data, in_memory, load_dataset
from kilnet.errors import DataError
from kilnet.inference.classifier import Classifier
from kilnet.runs.evaluation import EvaluatedSplit, data_of_run, evaluate_classifier, load_run
from kilnet.runs.run import Run, folder_of, own_models
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.run_folder import RunFolder
from kilnet.verbs.evaluate import record_evaluation


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run, its best weights, and the data it was trained on."""

    folder: RunFolder
    classifier: Classifier
    dataset: ImageDataset

    def evaluated(self, split: str) -> EvaluatedSplit:
        """Evaluate one split; a reading of the test split is recorded as `evaluate` records it.

        Raises:
            KilnetError: see `kilnet.runs.evaluation`.
        """
        self.classifier.settings.apply()
        evaluated = evaluate_classifier(self.classifier, self.dataset, split)
        if split == "test":
            record_evaluation(self.folder, evaluated)
        return evaluated


def one_split(name: str) -> str:
    """Return the full name of train, validation or test.

    Raises:
        DataError: it is none of them.
    """
    full = split_name(name)
    if full not in SPLIT_NAMES:
        raise DataError(f"the split is one of {', '.join(SPLIT_NAMES)}, not {name}")
    return full


def open_run(
    run: Run | str | Path,
    data: Data | None,
    data_dir: str | None,
    display: ProgressDisplay,
    model: str | None = None,
) -> OpenedRun:
    """Load a run's weights and its data.

    Args:
        run: what `train` returned, or its folder.
        data: the run's data, if it cannot be loaded by its name.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        display: shows how far loading is.
        model: "package.module:builder", if the run in a folder is of a network of the caller's own.

    Raises:
        RunFolderError: there is no run, or it has no weights yet.
        DataError: the data is not what the run was trained on.
    """
    folder = RunFolder(folder_of(run))
    classifier = load_run(folder.path, own_models(run, model))
    classifier.settings.apply()
    if data is None or isinstance(data, str | Path):
        config = data_of_run(folder, classifier, None, data_dir)
        if data is not None:
            config = config.model_copy(update={"source": str(data)})
        dataset = load_dataset(config, display.advance)
    else:
        dataset = in_memory(data, folder.config().data, display.advance)
    display.warn(dataset.warnings)
    if dataset.fingerprint != folder.environment().get("data", {}).get("fingerprint"):
        raise DataError(
            f"{dataset.name}: not the images that {folder.path} was trained on; name those with --data"
        )
    return OpenedRun(folder, classifier, dataset)
