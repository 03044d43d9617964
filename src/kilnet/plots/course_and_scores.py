"""Figures of how a run was trained and how good it became."""

from dataclasses import asdict

from kilnet.data.dataset import one_split
from kilnet.errors import InputError
from kilnet.figures import charts as figures
from kilnet.figures.charts import Figure, Normalise
from kilnet.metrics import Evaluation
from kilnet.runs.run import AnyRun, opened


def learning_curves(run: AnyRun) -> Figure:
    """Draw loss and accuracy of training and validation by epoch."""
    return figures.learning_curves([asdict(record) for record in opened(run).history])


def confusion_matrix(run: AnyRun, split: str = "test", normalise: Normalise = "counts") -> Figure:
    """Draw the confusion matrix of a split that `kilnet.evaluate` has evaluated: "counts", "recall" or "precision"."""
    return figures.confusion_matrix(_evaluation(run, split), normalise)


def per_class(run: AnyRun, split: str = "test") -> Figure:
    """Draw recall and precision of each class of a split that `kilnet.evaluate` has evaluated."""
    return figures.per_class(_evaluation(run, split))


def _evaluation(run: AnyRun, split: str) -> Evaluation:
    run, split = opened(run), one_split(split)
    entries = run.evaluations()
    if split not in entries:
        raise InputError(
            f"{run.folder}: the {split} split has not been evaluated; `kilnet.evaluate` does that"
        )
    return Evaluation.from_dict(entries[split])
