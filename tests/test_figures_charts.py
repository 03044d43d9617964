"""Charts: what is drawn, where, and that all of it lies on the figure."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from PIL import Image

from kilnet.errors import InputError
from kilnet.figures import charts as figures
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import wilson_interval
from made_up_evaluations import NASTY, evaluate

EMPTY = Evaluation.from_logits("test", ("a", "b"), np.zeros((0, 2)), np.zeros(0, np.int64))


def history(num_epochs):
    return [
        {
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "train_accuracy": 1 - 0.8 / epoch,
            "validation_loss": 1 + abs(epoch - 7) / 10,
            "is_best": epoch <= 7,
            "validation_accuracy": 0.6 + 0.01 * min(epoch, 9),
            "lr": 0.001,
        }
        for epoch in range(1, num_epochs + 1)
    ]


def test_an_empty_split_can_be_drawn(tmp_path):
    for number, figure in enumerate((figures.per_class(EMPTY), figures.confusion_matrix(EMPTY, "recall"))):
        figures.save(figure, tmp_path / f"{number}.png", dots_per_inch=40)


def is_whole(figure):
    """Whether everything that is drawn lies on the figure, to a fiftieth of an inch."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    drawn, (width, height) = figure.get_tightbbox(renderer), figure.get_size_inches()
    return min(drawn.x0, drawn.y0) > -0.02 and drawn.x1 < width + 0.02 and drawn.y1 < height + 0.02


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_classes", [2, 10, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["counts", "recall", "precision", "per_class"])
def test_figures_are_whole_for_few_and_many_classes(tmp_path, num_classes, kind):
    evaluation = evaluate(tuple(f"a class with quite a long name, {i}" for i in range(num_classes)))
    figure = (
        figures.per_class(evaluation) if kind == "per_class" else figures.confusion_matrix(evaluation, kind)
    )
    figure.set_dpi(50)
    assert is_whole(figure)
    figures.save(figure, tmp_path / "figure.png", dots_per_inch=50)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10


@pytest.mark.filterwarnings("error")
def test_figures_take_nasty_class_names(tmp_path):
    evaluation = evaluate(NASTY)
    for number, figure in enumerate((figures.per_class(evaluation), figures.confusion_matrix(evaluation))):
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels[4] == "$x^2$ and $"
        assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())
        figures.save(figure, tmp_path / f"{number}.png", dots_per_inch=50)


@pytest.mark.parametrize(("kind", "axis"), [("recall", 1), ("precision", 0)])
def test_cells_carry_percentages(kind, axis):
    evaluation = evaluate(("ant", "bee", "cat", "dog"))
    totals = evaluation.confusion.sum(axis=axis, keepdims=True)
    cells = {
        text.get_position()[::-1]: text.get_text()
        for text in figures.confusion_matrix(evaluation, kind).axes[0].texts
    }
    for place, count in np.ndenumerate(evaluation.confusion):
        total = np.broadcast_to(totals, evaluation.confusion.shape)[place]
        if total == 0:
            assert place not in cells
        elif 100 * count / total >= 0.5:
            assert cells[place] == f"{100 * count / total:.0f}"


def test_bars_end_at_the_score_and_whiskers_at_its_interval():
    evaluation = evaluate(("ant", "bee", "cat"))
    axes = figures.per_class(evaluation).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(100 * evaluation.recall[:2])
    bars = next(container for container in axes.containers if isinstance(container, BarContainer))
    whiskers = bars.errorbar.lines[2][0].get_segments()
    for i, whisker in enumerate(whiskers):
        low, high = wilson_interval(int(evaluation.confusion[i, i]), int(evaluation.support[i]))
        assert whisker[:, 0] == pytest.approx([100 * low, 100 * high])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("num_epochs", "best"), [(1, 1), (5, 5), (60, 7)])
def test_learning_curves_mark_the_epoch_whose_weights_are_kept(num_epochs, best):
    figure = figures.learning_curves(history(num_epochs))
    assert is_whole(figure)
    loss, accuracy = figure.axes
    assert "nats" in loss.get_ylabel()
    assert "%" in accuracy.get_ylabel()
    lines = {line.get_label(): line for line in accuracy.lines}
    assert list(lines["validation"].get_ydata()) == [
        100 * row["validation_accuracy"] for row in history(num_epochs)
    ]
    assert list(lines[f"kept: epoch {best}"].get_xdata()) == [best, best]
    assert all(tick == round(tick) for tick in loss.get_xticks())


def test_no_epoch_gives_no_curve():
    with pytest.raises(InputError, match="no epoch"):
        figures.learning_curves([])


def test_the_same_figure_gives_the_same_bytes_without_a_date(tmp_path):
    for name in ("one.png", "two.png"):
        figures.save(figures.learning_curves(history(9)), tmp_path / name, dots_per_inch=50)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert set(image.info) <= {"dpi"}
