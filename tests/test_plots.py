"""Figures for a notebook."""

import shutil
from io import BytesIO

import pytest
from PIL import Image

import kilnet
from digit_runs import digits
from kilnet.errors import InputError


@pytest.fixture
def run(digit_runs, tmp_path):
    return shutil.copytree(digit_runs / "a", tmp_path / "run")


def test_a_number_is_a_place_in_the_split_whatever_the_images_are_called(run):
    names = digits().validation.names
    figure = kilnet.plots.attribution(run, 3)
    assert figure.get_suptitle().startswith(f"{names[3]}, labelled")
    for place in (len(names), -1):
        with pytest.raises(InputError, match=f"`image={place}`: .* images 0 to {len(names) - 1}"):
            kilnet.plots.attribution(run, place)


def test_plots_are_figures_that_a_notebook_shows(digit_runs, run):
    kilnet.evaluate(run, progress=False)
    for figure in (
        kilnet.plots.learning_curves(run),
        kilnet.plots.confusion_matrix(run),
        kilnet.plots.per_class(run),
        kilnet.plots.filters(run, 2, columns=2),
        kilnet.plots.feature_maps(run, "0000", split="train"),
        kilnet.plots.attribution(run),
        kilnet.plots.attribution(run, "0000", target=3, split="train"),
        kilnet.plots.sample_predictions(run, 4),
        kilnet.plots.confident_mistakes(run, 4),
        kilnet.plots.confused_pairs(run),
        kilnet.plots.label_errors(run),
    ):
        assert Image.open(BytesIO(figure._repr_png_())).format == "PNG"
    with pytest.raises(InputError, match="has not been evaluated"):
        kilnet.plots.confusion_matrix(digit_runs / "b")
    with pytest.raises(InputError, match="num_folds"):
        kilnet.plots.label_errors(run, split="train")
