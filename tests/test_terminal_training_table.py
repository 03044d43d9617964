"""The columns of a training, its pace and its spark line."""

import pytest

from kilnet.terminal.training_table import Pace, TrainingTable, spark_line
from kilnet.training.records import EpochRecord

RECORD = EpochRecord(
    epoch=100,
    lr=0.1,
    train_loss=12.3456,
    train_accuracy=1.0,
    validation_loss=1234.5678,
    validation_accuracy=1.0,
    num_validation_correct=9999,
    num_validation=9999,
    is_best=True,
)


@pytest.mark.parametrize("room", range(20, 201))
@pytest.mark.parametrize("num_epochs", [None, 9, 100, 2000])
def test_lines_fit_and_stand_below_their_heads(room, num_epochs):
    table = TrainingTable(room, num_epochs)
    head = table.head()
    line = table.line(RECORD, 3599.0, 123_456_789, 359_999.0)
    assert max(len(head), len(line)) <= room
    end = head.index("val. acc.") + len("val. acc.")
    assert line[:end].endswith(" 100.00%")
    assert "kept" in line or room < 40
    if "images/s" in head:
        assert "34,303" in line
    if room >= 120:
        assert all(
            word in line for word in ("12.3456", "1234.5678", "100.0–100.0", "59 min 59 s", "99 h 59 min")
        )


def test_nothing_is_told_of_what_nobody_knows():
    line = TrainingTable(200, 10).line(RECORD, 2.0, 0, None)
    assert "images" not in line
    assert line.endswith("2.0 s"), "of the epoch; nothing is said of what is left"


def test_the_pace_is_that_of_the_last_epochs():
    pace = Pace(10)
    assert pace.left(0.0, 0.5, False) is None
    assert pace.left(5.0, 1.0, True) == pytest.approx(9 * 10)
    assert pace.left(7.0, 2.0, True) == pytest.approx(8 * 7 / 1.5)
    now = 7.0
    for epoch in range(3, 7):  # from here on an epoch takes a second
        now += 1.0
        left = pace.left(now, float(epoch), True)
    assert left == pytest.approx(4.0), "slow first epochs are forgotten"
    assert pace.left(now + 4, 10.0, True) == 0.0


def test_the_fit_of_a_last_layer_says_nothing_about_epochs():
    pace = Pace(2)
    assert pace.left(0.0, -0.5, False) is None
    assert pace.left(50.0, 0.0, True) is None
    assert pace.left(51.0, 0.5, False) == pytest.approx(3.0)


def test_a_spark_line_runs_from_the_lowest_to_the_highest():
    assert spark_line([0.1, 0.45, 0.8], 10) == "▁▄█"
    assert spark_line([3, 1, 2, 2], 3) == "▁██"
    assert spark_line([1, 1], 5) == "▁▁"
    assert spark_line([1], 5) == spark_line([1, 2], 0) == ""
