"""Figures of what was found inside a network."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from inspected import NETWORKS, backwards, config_net, pictures, res_net
from kilnet.figures import inspection_figures
from kilnet.figures.charts import png
from kilnet.inspection.features import feature_maps, filters
from kilnet.inspection.samples import sample_predictions
from made_up_evaluations import six_images


def test_a_contact_sheet_keeps_every_colour_exactly():
    six = six_images()
    figure = inspection_figures.contact_sheet(sample_predictions(six, 6), "Samples", columns=2)
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    found = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    wanted = {tuple(colour) for colour in six.images.images.transpose(0, 2, 3, 1).reshape(-1, 3)}
    assert found == wanted | {(255, 255, 255)}


@pytest.fixture(params=NETWORKS)
def classifier(request):
    return NETWORKS[request.param]()


def tiles_of(figure, grid, columns):
    """Cut the saved figure into its tiles: the pixels at the middle of each weight's block."""
    saved = np.asarray(Image.open(BytesIO(png(figure, 150))).convert("RGB"))
    box = figure.axes[0].get_window_extent()
    left, top = round(box.x0), saved.shape[0] - round(box.y1)
    height, width = grid.pictures.shape[1:3]
    num_rows = -(-len(grid.pictures) // columns)
    gap = 6
    scale = (round(box.width) - gap * (columns - 1)) // (columns * width)
    assert (round(box.height) - gap * (num_rows - 1)) == num_rows * height * scale
    tiles = []
    for number in range(len(grid.pictures)):
        row, column = divmod(number, columns)
        y = top + row * (height * scale + gap) + scale // 2 + scale * np.arange(height)
        x = left + column * (width * scale + gap) + scale // 2 + scale * np.arange(width)
        tiles.append(saved[np.ix_(y, x)])
    return np.stack(tiles)


def assert_pixels_are(found, weights, low, high):
    expected = 255 * (weights.astype(np.float64) - low) / (high - low)
    assert np.abs(found - expected).max() <= 0.5 + 1e-4  # rounding to whole grey values


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (config_net, "conv1"),
        (lambda: config_net((3, 20, 20), kernel_size=5), "conv1"),
        (lambda: config_net((1, 16, 16)), "conv1"),
        (config_net, "conv4"),
        (res_net, "blocks.1.shortcut.0"),
        (backwards, "first"),
    ],
)
def test_the_saved_pictures_pixels_are_the_weights(make, layer):
    classifier = make()
    weights = dict(classifier.model.named_parameters())[f"{layer}.weight"].detach().numpy()
    low, high = weights.min(), weights.max()
    grid = filters(classifier, layer)
    found = tiles_of(inspection_figures.filters(grid, columns=3), grid, 3)
    expected = weights.transpose(0, 2, 3, 1) if weights.shape[1] == 3 else weights[:, 0, ..., None]
    assert_pixels_are(found, expected, low, high)

    every = filters(classifier, layer, all_kernels=True)
    found = tiles_of(inspection_figures.filters(every, columns=4), every, 4)
    expected = weights.reshape(-1, *weights.shape[2:], 1)
    assert_pixels_are(found, expected, low, high)


def test_pictures_of_feature_maps_are_drawn_for_one_layer_and_for_all():
    maps = feature_maps(backwards(), pictures(backwards())[0])
    assert len(inspection_figures.feature_maps(maps).axes) == 4
    assert len(inspection_figures.feature_maps(maps[:1], columns=2).axes) == 1
