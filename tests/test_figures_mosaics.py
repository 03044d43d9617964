"""Many small pictures in one figure: every pixel of them is where it should be."""

import numpy as np
import pytest

from kilnet.config import AugmentConfig
from kilnet.data.augment import Augmentation
from kilnet.data.dataset import Split
from kilnet.errors import InputError
from kilnet.figures import mosaics
from kilnet.figures.mosaics import Band


def tiles(num_tiles, height=4, width=6, seed=0):
    return np.random.default_rng(seed).integers(0, 250, (num_tiles, height, width, 3), np.uint8)


def sheets_of(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def test_a_pixel_is_a_block_and_tiles_go_row_by_row():
    first, second = tiles(5), tiles(2, 3, 3, seed=1)
    bands = [
        Band(title="one", subtitle="", tiles=first, columns=3, scale=4),
        Band(title="two", subtitle="", tiles=second, columns=2, scale=2),
    ]
    figure = mosaics.mosaic(bands)
    sheet, other = sheets_of(figure)
    assert sheet.shape == (2 * 16 + 6, 3 * 24 + 2 * 6, 3)
    for number, tile in enumerate(first):
        row, column = divmod(number, 3)
        block = sheet[row * 22 :, column * 30 :][:16, :24]
        np.testing.assert_array_equal(block, np.kron(tile, np.ones((4, 4, 1), np.uint8)))
    assert (sheet[22:, 60:] == 255).all(), "where the sixth would be"
    assert other.shape == (6, 2 * 6 + 6, 3)
    size = figure.get_size_inches() * figure.dpi
    for axes, drawn in zip(figure.axes, (sheet, other), strict=True):
        box = axes.get_position()
        assert (box.height * size[1], box.width * size[0]) == pytest.approx(drawn.shape[:2])


def test_images_stand_in_the_row_of_their_class():
    labels = np.array([0, 1, 1, 0, 2, 1, 1, 1])
    images = np.zeros((8, 1, 5, 5), np.uint8) + (50 * labels + np.arange(8))[:, None, None, None].astype(
        np.uint8
    )
    split = Split(images, labels, tuple("abcdefgh"))
    figure = mosaics.images_by_class(split, ("x", "y", "$z$"), 3, 0, "Made up")
    shown = figure.axes[0]
    assert [text.get_text() for text in shown.texts if text.get_text()] == [
        "x: 2 images",
        "y: 5 images",
        "$z$: 1 images",
    ]
    scale = mosaics.fitting_scale(5, 96)
    step_x, step_y = 5 * scale + 6, 5 * scale + 6 + 24 + 6
    (sheet,) = sheets_of(figure)
    values = [[int(sheet[row * step_y, column * step_x, 0]) for column in range(3)] for row in range(3)]
    assert sorted(values[0][:2]) == [0, 3]
    assert set(values[1]) < {51, 52, 55, 56, 57}
    assert len(set(values[1])) == 3
    assert (values[2][0], values[0][2], values[2][1:]) == (104, 255, [255, 255])


def test_augmentation_shows_what_training_sees():
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8), np.uint8)
    split = Split(images, np.zeros(9, np.int64), tuple(map(str, range(9))))
    config, indices = AugmentConfig(brightness=0.5), np.array([4, 7])
    (sheet,) = sheets_of(mosaics.augmentation(split, indices, config, 3, 2))
    step, scale = 8 * mosaics.fitting_scale(8, 96) + 6, mosaics.fitting_scale(8, 96)
    for row, index in enumerate(indices):
        for column in range(3):
            shown = sheet[row * step :, column * step :][: 8 * scale : scale, : 8 * scale : scale]
            expected = images[index].transpose(1, 2, 0).astype(np.float64)
            if column:
                drawn = Augmentation.draw(config, 9, 3, column - 1).parameters["brightness"]
                expected = np.clip(expected * float(drawn[index]), 0, 255)
            assert np.abs(shown - expected).max() <= 0.51
    with pytest.raises(InputError, match="no augmentation is switched on"):
        mosaics.augmentation(split, indices, AugmentConfig(), 3, 2)


def test_a_sheet_is_wider_than_high():
    for num_tiles in range(1, 60):
        columns = mosaics.columns_for(num_tiles, 12)
        assert 1 <= columns <= 12
        assert columns >= -(-num_tiles // columns) or columns == 12
