"""Figures of what was found inside a network."""

import numpy as np

from kilnet.figures import inspection_figures
from kilnet.inspection.samples import sample_predictions
from made_up_evaluations import six_images


def test_a_contact_sheet_keeps_every_colour_exactly():
    six = six_images()
    figure = inspection_figures.contact_sheet(sample_predictions(six, 6), "Samples", columns=2)
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    found = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    wanted = {tuple(colour) for colour in six.images.images.transpose(0, 2, 3, 1).reshape(-1, 3)}
    assert found == wanted | {(255, 255, 255)}
