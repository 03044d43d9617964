"""What is told while a network is trained."""

import io
import re
import threading
from itertools import pairwise

import pytest
from rich.console import Console

import kilnet
from kilnet.runs.wording import IN_DETAIL
from kilnet.terminal import progress
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.records import EpochRecord, StepRecord
from made_up_machine import TINY, make_dataset


def test_plan_and_time_left_are_told(tmp_path, capsys, processor_time):
    settings = TINY | {
        "training.low_resolution": [[0.4, 0.5], [0.75, 0.75]],
        "training.checkpoint_seconds": 0.1,
    }
    token = IN_DETAIL.set(True)
    kilnet.train(make_dataset(num_train=120), budget="4s", settings=settings, out=tmp_path / "run")
    IN_DETAIL.reset(token)
    lines = capsys.readouterr().err.splitlines()
    (plan,) = (line for line in lines if "passes" in line)
    assert re.fullmatch(
        r"plan: [1234]s of 4s left, about \d+\.\d passes over the images; "
        r"6x6 until 40%, 9x9 until 75%, then 12x12; training ends at \d\d:\d\d:\d\d",
        plan,
    )
    assert any(re.fullmatch(r"measured: [\d,]+ images/s in batches of \d+", line) for line in lines)
    assert any(line.startswith("made: 120 images to train on, 60 to validate, 3 classes") for line in lines)
    (head,) = (number for number, line in enumerate(lines) if line.split()[:1] == ["epoch"])
    assert {"val.", "images/s", "left"} <= set(lines[head].split())
    epochs = [line for line in lines[head + 1 :] if re.match(r" +\d", line)]
    assert epochs
    assert all(re.search(r"\d( +\d\.\d s)?$", line) for line in epochs), epochs
    assert not any("/" in line.split()[0] for line in epochs), "nobody knows how many there will be"


def test_what_was_measured_is_told_to_those_who_ask(tmp_path, capsys):
    kilnet.train(make_dataset(), epochs=1, settings=TINY | {"model.name": "FastNet"}, out=tmp_path / "run")
    assert "batches of" not in capsys.readouterr().err


class Clock:
    """Seconds as the test wants them."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def training(clock, num_epochs, seconds_of_step=2.0, num_steps=5, first=1):
    for epoch in range(first, num_epochs + 1):
        for step in range(1, num_steps + 1):
            clock.now += seconds_of_step
            yield StepRecord(epoch=epoch, step=step, num_steps=num_steps, num_images=30)
        yield EpochRecord(
            epoch=epoch,
            lr=0.1,
            train_loss=1 / epoch,
            train_accuracy=0.5,
            validation_loss=1 / epoch,
            validation_accuracy=0.8 + epoch / 100,
            num_validation_correct=80 + epoch,
            num_validation=100,
            is_best=epoch != 2,
        )


def followed(monkeypatch, width, num_epochs=4, **options):
    clock = Clock()
    monkeypatch.setattr(progress, "monotonic", clock)
    stream = io.StringIO()
    console = Console(file=stream, width=width, **options)
    shown = []
    with ProgressDisplay(console) as display:

        def spied():
            for record in training(clock, num_epochs):
                yield record
                shown.append((record, display._status))

        display.follow(spied(), num_epochs)
    return stream.getvalue(), shown


def test_the_time_left_is_that_of_the_whole_run_in_every_epoch(monkeypatch):
    _, shown = followed(monkeypatch, 80)
    steps = [(record, status) for record, status in shown if isinstance(record, StepRecord)]
    lefts = [status.left for _, status in steps]
    assert lefts[0] is None, "nobody knows after one step"
    for (record, status), left in zip(steps[1:], lefts[1:], strict=True):
        done = 10.0 * (record.epoch - 1) + 2.0 * record.step
        assert left == pytest.approx(40.0 - done), (record, status)
    assert all(later < earlier for earlier, later in pairwise(lefts[1:]))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_epochs_are_aligned_lines_of_one_table_that_fits(monkeypatch, width):
    text, _ = followed(monkeypatch, width)
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 5
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines] == ["epoch", "1/4", "2/4", "3/4", "4/4"]
    end = lines[0].index("val. acc.") + len("val. acc.")
    assert [line[:end].split()[-1] for line in lines[1:]] == ["81.00%", "82.00%", "83.00%", "84.00%"]
    assert ["kept" in line for line in lines[1:]] == [True, False, True, True]
    assert [line.split()[-2:] for line in lines[1:4]] == [
        ["30.0" if False else "30", "s"],
        ["20", "s"],
        ["10", "s"],
    ]
    assert ("95% interval" in lines[0]) == (width >= 80)
    assert not lines[4].endswith("s") or width >= 120, "nothing is left after the last"


def test_a_terminal_gets_the_same_table_and_a_line_that_moves(monkeypatch):
    text, _ = followed(monkeypatch, 80, force_terminal=True, color_system=None)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    assert plain.count("val. acc.") == 1
    for row in ("1/4", "2/4", "3/4", "4/4"):
        assert re.search(rf"(^|[\r\n]) *{row} ", plain)


def test_loading_tells_how_long_it_still_takes(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "monotonic", clock)
    console = Console(file=io.StringIO(), width=80)
    with ProgressDisplay(console) as display:
        display.advance("reading", 0, 200)
        clock.now += 31
        display.advance("reading", 50, 200)
        assert display._status.left == pytest.approx(93)
        display.advance("reading", 200, 200)
        assert display._status is None
        display.advance("reading", 0, 10)
        assert display._status.left is None, "another work of the same name begins again"
    assert console.file.getvalue() == "reading: 50 of 200\n"


def test_what_takes_long_is_told_in_a_pipe_and_what_does_not_is_not(monkeypatch):
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=80))
    told, long = threading.Event(), display.say
    monkeypatch.setattr(display, "say", lambda line: (long(line), told.set()))
    with display, display.during("measuring"):
        assert told.wait(20)
    assert stream.getvalue() == "measuring ...\n"
    with display, display.during("measuring"):
        pass
    assert stream.getvalue() == "measuring ...\n"


def test_what_is_under_way_moves_on_a_terminal_and_leaves_no_line():
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=40, force_terminal=True))
    with display, display.during("measuring"):
        display._live.refresh()
    text = stream.getvalue()
    assert "measuring ..." in text
    assert "measuring ...\n" not in text
