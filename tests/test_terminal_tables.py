import csv
import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from kilnet.errors import InputError, RunFolderError, StorageError
from kilnet.figures import charts as figures
from kilnet.metrics import Evaluation, wilson_interval
from kilnet.runs.evaluation import EvaluatedSplit, read_evaluations, write_evaluation
from kilnet.runs.wording import one_line, shorten
from kilnet.terminal import tables
from kilnet.training.run_folder import RunFolder

NASTY = (
    'commas, and "quotes"',
    "two\r\nlines",
    "<script>alert(1)</script>",
    "[bold red]markup[/]",
    "$x^2$ and $",
    "قطة",
    "🐱",
    "猫" * 40,
    "\x1b[31mred\x07",
    "\u202eetihw",
)
EMPTY = Evaluation.from_logits("test", ("a", "b"), np.zeros((0, 2)), np.zeros(0, np.int64))


def scores(num_classes, num_images=600, seed=0):
    """Logits and labels; the last of three or more classes has no images."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, max(num_classes - 1, 2), num_images)
    logits = random.normal(size=(num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += 2
    return logits, labels


def evaluate(classes, num_images=600, split="test"):
    return Evaluation.from_logits(split, classes, *scores(len(classes), num_images))


def print_plain(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


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


# Files


def written(path, evaluation, names, logits, labels):
    images = SimpleNamespace(names=names, labels=labels)
    return write_evaluation(RunFolder(path), EvaluatedSplit(evaluation, images, logits))


def test_files_hold_the_evaluation_whatever_the_classes_are_called(tmp_path):
    logits, labels = scores(len(NASTY))
    evaluation = Evaluation.from_logits("test", NASTY, logits, labels)
    names = [f'{NASTY[label]}/no. {i}, "x".png' for i, label in enumerate(labels)]
    folder = written(tmp_path, evaluation, names, logits, labels)
    assert folder == tmp_path / "evaluation-test"
    assert sorted(path.name for path in folder.iterdir()) == [
        "confusion.csv",
        "per_class.csv",
        "predictions.csv",
    ]

    again = Evaluation.from_dict(read_evaluations(RunFolder(tmp_path))[evaluation.split])
    assert again.to_dict() == evaluation.to_dict()

    head, *rows = read_csv(folder / "confusion.csv")
    assert head[1:] == [row[0] for row in rows] == list(NASTY)
    assert [[int(count) for count in row[1:]] for row in rows] == evaluation.confusion.tolist()

    head, *rows = read_csv(folder / "per_class.csv")
    assert head == ["class", "support", "num_correct", "recall", "precision", "f1"]
    assert [row[0] for row in rows] == list(NASTY)
    assert [float(row[2]) / float(row[1]) for row in rows[:-1]] == [float(row[3]) for row in rows[:-1]]
    assert rows[-1][1] == "0"
    assert rows[-1][3] == ""

    head, *rows = read_csv(folder / "predictions.csv")
    assert head == ["name", "truth", "predicted", "confidence", "loss"]
    assert [row[0] for row in rows] == names
    assert sum(row[1] == row[2] for row in rows) == evaluation.num_correct
    assert math.fsum(float(row[4]) for row in rows) == pytest.approx(evaluation.loss_sum)


@pytest.mark.parametrize("split", ["/data/my photos/", "../..", "", "C:\\photos", "x" * 500])
def test_files_stay_in_the_run_folder_whatever_the_split_is_called(tmp_path, split):
    logits, labels = scores(2, 10)
    evaluation = Evaluation.from_logits(split, ("a", "b"), logits, labels)
    folder = written(tmp_path, evaluation, list("0123456789"), logits, labels)
    assert folder.parent == tmp_path
    assert sorted(tmp_path.iterdir()) == sorted([folder, tmp_path / "evaluation.json"])
    assert read_evaluations(RunFolder(tmp_path))[split]["split"] == split


def test_two_splits_lie_side_by_side(tmp_path):
    logits, labels = scores(2, 10)
    for split in ("validation", "test", "test"):
        evaluation = Evaluation.from_logits(split, ("a", "b"), logits, labels)
        written(tmp_path, evaluation, list("0123456789"), logits, labels)
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert folders == ["evaluation-test", "evaluation-validation"]
    reads = {split: entry["num_reads"] for split, entry in read_evaluations(RunFolder(tmp_path)).items()}
    assert reads == {"validation": 1, "test": 2}


def test_a_damaged_file_of_evaluations_is_named_and_kept(tmp_path):
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"evaluation\.json: damaged"):
        read_evaluations(RunFolder(tmp_path))
    assert (tmp_path / "evaluation.json").read_text() == "{"


def test_bad_input_writes_nothing(tmp_path):
    logits, labels = scores(2, 10)
    evaluation = Evaluation.from_logits("test", ("a", "b"), logits, labels)
    with pytest.raises(InputError, match="9 names and 10 labels"):
        written(tmp_path, evaluation, list("012345678"), logits, labels)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_named(tmp_path):
    logits, labels = scores(2, 10)
    evaluation = Evaluation.from_logits("test", ("a", "b"), logits, labels)
    with pytest.raises(StorageError, match="nowhere"):
        written(tmp_path / "nowhere", evaluation, list("0123456789"), logits, labels)


# Tables


@pytest.mark.parametrize(
    "classes",
    [("cat", "dog"), tuple("0123456789"), NASTY, tuple(f"class {i}" for i in range(12)), NASTY * 10],
    ids=["2", "digits", "nasty", "12", "100"],
)
@pytest.mark.parametrize("num_images", [600, 120_000])
def test_the_report_fits_80_columns_and_cuts_no_number(classes, num_images):
    evaluation = evaluate(classes, num_images)
    lines = print_plain(tables.evaluation_tables(evaluation)).splitlines()
    assert max(cell_len(line) for line in lines) <= 80
    for line in lines:
        words = line.split()
        assert not any(word.endswith("…") and word[0].isdigit() for word in words[-4:])
    assert not any("\x1b" in line or "\x07" in line or "\u202e" in line for line in lines)


def test_the_summary_carries_the_interval():
    confusion = np.array([[3600, 1400], [1410, 3590]], np.int64)
    truth, predicted = (np.repeat(part, confusion.ravel()) for part in np.indices((2, 2)).reshape(2, 4))
    text = print_plain(
        tables.summary_table(Evaluation.from_logits("test", ("a", "b"), np.eye(2)[predicted], truth))
    )
    assert "71.9% (71.0–72.8, 95% Wilson, n=10,000)" in text


def test_each_class_has_its_scores():
    evaluation = evaluate(("[red]cat", "dog", "eel"))
    rows = {
        line.split()[0]: line.split()[1:]
        for line in print_plain(tables.per_class_table(evaluation)).splitlines()
    }
    assert rows["[red]cat"] == [
        f"{evaluation.recall[0]:.1%}",
        f"{evaluation.precision[0]:.1%}",
        f"{evaluation.f1[0]:.1%}",
        str(evaluation.support[0]),
    ]
    assert rows["eel"][0] == "–"


@pytest.mark.parametrize(
    ("classes", "heads"),
    [
        (tuple("0123456789"), list("0123456789")),
        (tuple(f"class {i}" for i in range(12)), list("ABCDEFGHIJKL")),
    ],
)
def test_the_confusion_table_holds_every_count(classes, heads):
    evaluation = evaluate(classes)
    _, head, _, *lines = print_plain(tables.confusion_table(evaluation)).splitlines()
    assert head.removeprefix("truth \\ predicted").split() == heads
    counts = [[int(word.replace(".", "0")) for word in line.split()[-len(classes) :]] for line in lines]
    assert counts == evaluation.confusion.tolist()


def test_too_many_classes_have_no_confusion_table():
    assert tables.confusion_table(evaluate(tuple(f"class {i}" for i in range(13)))) is None


def test_the_commonest_mistakes_come_first():
    evaluation = evaluate(("cat", "dog", "eel"))
    truth, predicted, count = evaluation.most_confused(1)[0]
    line = print_plain(tables.most_confused_table(evaluation, k=1)).splitlines()[-1]
    share = count / evaluation.support[evaluation.classes.index(truth)]
    assert line.split() == [truth, predicted, str(count), f"{share:.1%}"]


def test_an_empty_split_can_be_reported(tmp_path):
    assert "–" in print_plain(tables.evaluation_tables(EMPTY))
    for number, figure in enumerate((figures.per_class(EMPTY), figures.confusion_matrix(EMPTY, "recall"))):
        figures.save(figure, tmp_path / f"{number}.png", dots_per_inch=40)


# Names


def test_names_are_shown_on_one_line():
    assert one_line(" two\r\n\tlines ") == "two lines"
    assert one_line("\x1b[31m\u202ex\udcff") == "\ufffd[31m\ufffdx\ufffd"
    assert one_line("قطة 👩‍🚀") == "قطة 👩‍🚀"


@pytest.mark.parametrize("length", [1, 9, 10, 11, 200])
def test_long_names_keep_both_ends(length):
    name = "".join(chr(ord("a") + i % 26) for i in range(length))
    short = shorten(name, 10)
    assert len(short) <= 10
    assert (short == name) == (length <= 10)
    assert (short[0], short[-1]) == (name[0], name[-1])


# Figures


def is_whole(figure):
    """Whether everything that is drawn lies on the figure, to a fiftieth of an inch."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    drawn, (width, height) = figure.get_tightbbox(renderer), figure.get_size_inches()
    return min(drawn.x0, drawn.y0) > -0.02 and drawn.x1 < width + 0.02 and drawn.y1 < height + 0.02


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_classes", [2, 10, 100])
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
