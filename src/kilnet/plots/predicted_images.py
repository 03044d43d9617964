"""Figures of images with what the network says of them."""

from kilnet.data.dataset import one_split
from kilnet.data.sources import Data
from kilnet.errors import InputError
from kilnet.figures import inspection_figures
from kilnet.figures.charts import Figure
from kilnet.inspection import samples
from kilnet.inspection.label_errors import suspected_labels
from kilnet.metrics import softmax
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.runs.run import AnyRun, Run, opened
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.evaluate import evaluated


def sample_predictions(
    run: AnyRun, count: int = 30, seed: int = 0, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw images at random with truth, prediction and confidence."""
    found = samples.sample_predictions(_evaluated(run, split, data), count, seed)
    return inspection_figures.contact_sheet(found, f"Sample predictions, {one_split(split)}")


def confident_mistakes(
    run: AnyRun, count: int = 30, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw the images that the network got wrong, the most confident first."""
    found = samples.confident_mistakes(_evaluated(run, split, data), count)
    return inspection_figures.contact_sheet(found, f"Most confident mistakes, {one_split(split)}")


def confused_pairs(
    run: AnyRun, num_pairs: int = 5, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw the commonest confusions, one row of images each."""
    found = samples.confused_pairs(_evaluated(run, split, data), num_pairs)
    return inspection_figures.confused_pairs(found, f"Most confused, {one_split(split)}")


def label_errors(
    run: AnyRun, count: int = 30, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw images of the validation or test split whose labels are suspected; of training images `inspect` does."""
    if one_split(split) == "train":
        raise InputError("the network was trained on these labels; use `kilnet.inspect` with `num_folds`")
    seen = _evaluated(run, split, data)
    found = suspected_labels(one_split(split), seen.images, seen.evaluation.classes, softmax(seen.logits))
    return inspection_figures.suspected_labels(found[:count], f"Suspected labels, {one_split(split)}")


def with_data(run: AnyRun, data: Data | None) -> Run:
    """Open a run and load its data, showing how far that is."""
    run = opened(run)
    run.classifier.settings.apply()
    with ProgressDisplay() as display:
        display.warn(run.own_data(data, progress=display.advance).warnings)
    return run


def _evaluated(run: AnyRun, split: str, data: Data | None) -> EvaluatedSplit:
    return evaluated(with_data(run, data), one_split(split))
