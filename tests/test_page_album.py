"""The pictures that a page carries."""

import json

import numpy as np
import pytest

from kilnet.page.album import Predictions, make_album, num_images_that_fit, select


def test_selection_shares_a_page_among_the_cells():
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 5, 3000), random.integers(0, 5, 3000)
    predicted[:2000] = truth[:2000]
    confidence = random.random(3000)
    predictions = Predictions(tuple(map(str, range(3000))), truth, predicted, confidence)
    selection = select(predictions, 400)
    assert len(selection.indices) <= 400
    sizes = {len(places) for places in selection.cells.values()}
    assert len(selection.cells) == 25
    assert sizes == {(400 - 60) // 25}
    for (t, p), places in selection.cells.items():
        chosen = selection.indices[places]
        members = np.flatnonzero((truth == t) & (predicted == p))
        best = sorted(members, key=lambda i: confidence[i], reverse=t != p)[: len(places)]
        assert chosen.tolist() == best
    wrong = np.flatnonzero(truth != predicted)
    worst = wrong[np.argsort(-confidence[wrong])][:30]
    assert selection.indices[selection.mistakes].tolist() == worst.tolist()


@pytest.mark.parametrize("side", [32, 200])
def test_pictures_stay_below_five_megabytes_even_if_they_are_noise(side):
    random = np.random.default_rng(0)
    most = num_images_that_fit(side)
    num_images = 3000
    predictions = Predictions(
        tuple(map(str, range(num_images))),
        random.integers(0, 10, num_images),
        random.integers(0, 10, num_images),
        random.random(num_images),
    )
    selection = select(predictions, most)
    images = random.integers(0, 256, (len(selection.indices), 3, side, side)).astype(np.uint8)
    album = make_album("abcdefghij", predictions, selection, images)
    assert sum(map(len, album.sheets.values())) + len(json.dumps(album.data)) < 4_500_000
