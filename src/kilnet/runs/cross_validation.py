"""What networks of folds say of images that they have not seen, and how it is recorded."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import ImageDataset
from kilnet.errors import RunFolderError
from kilnet.inference.prediction_rows import PredictionRow, prediction_rows
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import CONFIDENCE_LEVEL
from kilnet.storage import read_json, reading, sealed, unsealed, write_csv, write_json
from kilnet.training.run_folder import RunFolder

FEW_IMAGES = 2000
"""Of fewer images to train and validate on, one split says little: a judgement, not a theorem."""


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """The accuracy of a configuration on images that were not trained on.

    Attributes:
        run: folder of the run whose folds they are.
        num_images, num_correct: of each fold.
        evaluation: of all images together, each predicted by the network that has not seen it.
        predictions: the file with one row for each image.
    """

    run: Path
    num_images: tuple[int, ...]
    num_correct: tuple[int, ...]
    evaluation: Evaluation
    predictions: Path

    @property
    def num_folds(self) -> int:
        """How many parts the images were dealt out into."""
        return len(self.num_images)

    @property
    def fold_accuracies(self) -> tuple[float, ...]:
        """Accuracy on each fold."""
        return tuple(right / total for right, total in zip(self.num_correct, self.num_images, strict=True))

    @property
    def mean(self) -> float:
        """Mean accuracy over folds."""
        return float(np.mean(self.fold_accuracies))

    @property
    def mean_interval(self) -> tuple[float, float]:
        """95% interval of `mean`, fold by fold.

        Student's t with the variance of Nadeau and Bengio (2003, "Inference for the generalization error"), since the
        networks have most of their training images in common: var (1 / K + 1 / (K - 1)) for K folds.
        """
        from scipy.special import stdtrit  # a moment to import

        num = self.num_folds
        variance = np.var(self.fold_accuracies, ddof=1) * (1 / num + 1 / (num - 1))
        reach = float(stdtrit(num - 1, (1 + CONFIDENCE_LEVEL) / 2)) * math.sqrt(variance)
        return max(0.0, self.mean - reach), min(1.0, self.mean + reach)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers that are recorded and printed as JSON."""
        return {
            "run": str(self.run),
            "num_folds": self.num_folds,
            "num_images": list(self.num_images),
            "num_correct": list(self.num_correct),
            "accuracy": self.mean,
            "accuracy_interval": list(self.mean_interval),
            "pooled_accuracy": self.evaluation.accuracy,
            "pooled_accuracy_interval": list(self.evaluation.accuracy_interval),
            "macro_recall": self.evaluation.macro_recall,
            "loss": self.evaluation.loss,
            "predictions": str(self.predictions),
        }

    def lines(self) -> Sequence[str]:
        """Return what a person is told, line by line."""
        low, high = self.mean_interval
        pooled_low, pooled_high = self.evaluation.accuracy_interval
        each = ", ".join(f"{accuracy:.1%}" for accuracy in self.fold_accuracies)
        return (
            f"{self.num_folds} folds: accuracy {self.mean:.2%} ({low:.1%}–{high:.1%} from fold to fold): {each}",
            f"all {self.evaluation.num_images:,} images: {self.evaluation.accuracy:.2%} "
            f"({pooled_low:.1%}–{pooled_high:.1%}), macro recall {self.evaluation.macro_recall:.2%}",
            f"predictions: {self.predictions}",
        )


def record(
    files: RunFolder,
    dataset: ImageDataset,
    fold_of: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float32],
) -> CrossValidated:
    """Evaluate what the networks of folds say, and write it beside them: a table of predictions and a summary.

    Args:
        files: of the run.
        dataset: its training images were dealt out.
        fold_of: int64 (num_images,), the fold of each, from 0.
        logits: float32 (num_images, num_classes), each by the network that has not seen the image.
    """
    train, num_folds = dataset.train, int(fold_of.max()) + 1
    is_right = logits.argmax(1) == train.labels
    table = files.folds_file(num_folds, "predictions.csv")
    rows = prediction_rows(dataset.classes, train.names, logits, train.labels)
    fields = PredictionRow._fields[:-1]  # nothing calibrates these networks
    numbered = zip(rows, fold_of.tolist(), strict=True)
    write_csv(table, (*fields, "fold"), ((*row[: len(fields)], fold + 1) for row, fold in numbered))
    found = CrossValidated(
        run=files.path,
        num_images=tuple(np.bincount(fold_of).tolist()),
        num_correct=tuple(np.bincount(fold_of, weights=is_right).astype(int).tolist()),
        evaluation=Evaluation.from_logits("train", dataset.classes, logits, train.labels),
        predictions=table,
    )
    write_json(files.folds_file(num_folds, "summary.json"), sealed(found.to_dict()))
    return found


def read_summaries(files: RunFolder) -> list[dict[str, Any]]:
    """Return what was recorded of a run's folds, for each number of folds; a damaged summary is left out."""
    found = []
    for path in sorted(files.path.glob("folds/summary-of-*.json")):
        with suppress(RunFolderError, FileNotFoundError), reading(path, "cross-validate again"):
            found.append(unsealed(read_json(path)))
    return found
