"""Figures of what is inside a network."""

from kilnet.data.dataset import one_split
from kilnet.data.sources import Data
from kilnet.figures import inspection_figures
from kilnet.figures.charts import Figure
from kilnet.inspection import features
from kilnet.plots.predicted_images import with_data
from kilnet.runs.run import AnyRun, opened
from kilnet.verbs.inspect import explanations, picture_to_explain


def filters(
    run: AnyRun,
    layer: str | int | None = None,
    channel: int | None = None,
    *,
    all_kernels: bool = False,
    columns: int | None = None,
) -> Figure:
    """Draw the filters of a convolution, by name or by number from 1; see `kilnet.inspection.features.filters`."""
    grid = features.filters(opened(run).classifier, layer, channel, all_kernels)
    return inspection_figures.filters(grid, columns)


def feature_maps(
    run: AnyRun, image: str | int | None = None, *, split: str = "validation", data: Data | None = None
) -> Figure:
    """Draw what each convolution makes of an image: a name of the split, a file, or a place in the split."""
    run = with_data(run, data)
    picture, _, _ = picture_to_explain(run, one_split(split), image)
    return inspection_figures.feature_maps(features.feature_maps(run.classifier, picture))


def attribution(
    run: AnyRun,
    image: str | int | None = None,
    target: str | int | None = None,
    *,
    split: str = "validation",
    data: Data | None = None,
) -> Figure:
    """Draw which parts of an image speak for a class: by default the predicted one, and the label where they differ."""
    run = with_data(run, data)
    picture, name, truth = picture_to_explain(run, one_split(split), image)
    explained = explanations(run.classifier, picture, target, truth)
    return inspection_figures.attribution(picture, name, explained, truth)
