"""Samples, mistakes, suspected labels, and two networks beside each other."""

import numpy as np
import pytest
from scipy import stats

from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.splits import folds
from kilnet.errors import DataError, InputError, RunFolderError
from kilnet.figures import inspection_figures
from kilnet.inspection.comparison import PairedOutcome, disagreements, paired_outcome
from kilnet.inspection.label_errors import label_errors, suspected_labels
from kilnet.inspection.samples import (
    confident_mistakes,
    confused_examples,
    confused_pairs,
    sample_predictions,
)
from kilnet.metrics import Evaluation, softmax
from kilnet.recipes.reading import load_config
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.runs.folds import CrossValidation
from kilnet.training.run_folder import RunFolder

CLASSES = ("cat", "dog", "frog")


def evaluated(labels, logits, seed=0):
    random = np.random.default_rng(seed)
    labels, logits = np.asarray(labels), np.asarray(logits, np.float32)
    images = random.integers(0, 256, (len(labels), 3, 8, 8), np.uint8)
    split = Split(images, labels, tuple(f"{i}.png" for i in range(len(labels))))
    return EvaluatedSplit(Evaluation.from_logits("validation", CLASSES, logits, labels), split, logits)


@pytest.fixture
def six():
    """Two right, four wrong: images 1, 3, 4 are cats taken for dogs, 5 a frog taken for a cat."""
    logits = [[5, 0, 0], [0, 1, 0], [0, 0, 2], [0, 3, 0], [0, 2, 0], [4, 0, 0]]
    return evaluated([0, 0, 2, 0, 0, 2], logits)


def test_mistakes_are_the_wrong_ones_most_confident_first(six):
    found = confident_mistakes(six, 10)
    assert [sample.name for sample in found] == ["5.png", "3.png", "4.png", "1.png"]
    assert [sample.name for sample in confident_mistakes(six, 2)] == ["5.png", "3.png"]
    assert (found[0].truth, found[0].predicted) == ("frog", "cat")
    assert found[0].confidence == pytest.approx(np.exp(4) / (np.exp(4) + 2))
    np.testing.assert_array_equal(found[0].image, six.images.images[5])


def test_confusions(six):
    assert [s.name for s in confused_examples(six, "cat", "dog")] == ["3.png", "4.png", "1.png"]
    assert confused_examples(six, "dog", "cat") == ()
    with pytest.raises(InputError, match="no class 'frgo'; did you mean frog"):
        confused_examples(six, "cat", "frgo")
    pairs = confused_pairs(six, 5, count=2)
    assert [(p.truth, p.predicted, p.num_images, p.num_of_class) for p in pairs] == [
        ("cat", "dog", 3, 4),
        ("frog", "cat", 1, 2),
    ]
    assert [s.name for s in pairs[0].samples] == ["3.png", "4.png"]


def test_samples_are_the_same_for_the_same_seed(six):
    names = [sample.name for sample in sample_predictions(six, 6, seed=3)]
    assert sorted(names) == sorted(six.images.names)
    assert [sample.name for sample in sample_predictions(six, 2, seed=3)] == names[:2]
    assert [sample.name for sample in sample_predictions(six, 6, seed=4)] != names


def test_a_contact_sheet_keeps_every_colour_exactly(six):
    figure = inspection_figures.contact_sheet(sample_predictions(six, 6), "Samples", columns=2)
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    found = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    wanted = {tuple(colour) for colour in six.images.images.transpose(0, 2, 3, 1).reshape(-1, 3)}
    assert found == wanted | {(255, 255, 255)}


def noisy(num_images, noise=0.06, temperature=1.0, seed=0):
    """Predictions of a calibrated network made more or less confident, labels of which some are wrong, and which."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (num_images, 4))
    truth = (logits + random.gumbel(size=logits.shape)).argmax(1)  # a class with its softmax probability
    wrong = random.random(num_images) < noise
    labels = np.where(wrong, (truth + random.integers(1, 4, num_images)) % 4, truth)
    return softmax(logits / temperature), labels, wrong


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.06, 0.3])
def test_planted_label_errors_are_counted_and_rank_first(noise, temperature):
    probabilities, labels, wrong = noisy(8000, noise, temperature)
    found = label_errors(probabilities, labels)
    assert found.num_wrong / 8000 == pytest.approx(wrong.mean(), abs=0.02)
    assert sorted(found.ranking) == list(range(8000))
    if noise:
        assert wrong[found.suspects].mean() > 0.7
        for low, high in ((0.2, 0.5), (0.5, 0.8)):  # a suspicion is a probability, if what it supposes holds
            those = (found.suspicion > low) & (found.suspicion < high)
            assert wrong[those].mean() == pytest.approx(found.suspicion[those].mean(), abs=0.12)


def test_a_perfect_network_suspects_what_contradicts_it():
    labels = np.arange(300) % 3
    probabilities = np.where(np.arange(3) == labels[:, None], 0.98, 0.01)
    assert len(label_errors(probabilities, labels).suspects) == 0
    given = labels.copy()
    given[[7, 90]] = (labels[[7, 90]] + 1) % 3
    found = label_errors(probabilities, given)
    assert found.suspects.tolist() == [7, 90]
    assert found.suggested[[7, 90]].tolist() == labels[[7, 90]].tolist()


def test_a_network_that_knows_nothing_suspects_nothing():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    assert len(label_errors(np.full((400, 4), 0.25), labels).suspects) == 0


def test_cleanlab_ranks_alike():
    rank = pytest.importorskip("cleanlab.rank", reason="cleanlab is not installed")
    probabilities, labels, wrong = noisy(3000, seed=5)
    theirs = np.argsort(rank.get_label_quality_scores(labels, probabilities, method="self_confidence"))
    first = label_errors(probabilities, labels).ranking[: wrong.sum()]
    assert len(set(first) & set(theirs[: wrong.sum()])) > 0.95 * wrong.sum()


def test_a_class_without_labels_and_shapes_that_do_not_fit():
    probabilities, labels, _ = noisy(50)
    wider = np.hstack([probabilities, np.zeros((50, 1))])
    assert set(label_errors(wider, labels).suggested) <= {0, 1, 2, 3}
    with pytest.raises(InputError):
        label_errors(probabilities, labels[:-1])


def test_suspected_labels_say_where_and_what_instead():
    labels = np.arange(300) % 3
    logits = 8.0 * (np.arange(3) == labels[:, None]) + np.random.default_rng(0).normal(size=(300, 3))
    labels[5] = 0  # a frog
    split = evaluated(labels, logits)
    (found,) = suspected_labels("validation", split.images, CLASSES, softmax(split.logits))
    assert (found.split, found.name, found.label, found.suggested) == ("validation", "5.png", "cat", "frog")
    np.testing.assert_array_equal(found.image, split.images.images[5])
    assert found.confidence == pytest.approx(softmax(logits)[5, 2])
    assert found.suspicion > 0.5


def dataset(num_images=90, copies=30):
    """Stripes across are 0, stripes down are 1; some pictures stand there twice."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (num_images, 1, 12, 12))
    labels = np.arange(num_images) % 2
    images[labels == 0, :, ::2] += 150
    images[labels == 1, :, :, ::2] += 150
    images, labels = images.astype(np.uint8), labels.astype(np.int64)
    images[-copies:] = images[:copies]
    names = tuple(map(str, range(num_images)))
    train, validation = slice(0, None), slice(0, 20)
    return ImageDataset(
        "stripes",
        ("across", "down"),
        Split(images[train], labels[train], names[train]),
        Split(images[validation], labels[validation], names[validation]),
        None,
    )


def test_folds_are_even_and_never_part_equal_pictures():
    split = dataset().train
    fold_of = folds(split, 4, seed=1)
    assert set(np.bincount(fold_of)) <= set(range(18, 28))
    np.testing.assert_array_equal(fold_of[-30:], fold_of[:30])
    for label in (0, 1):
        distinct = fold_of[:60][split.labels[:60] == label]
        assert np.ptp(np.bincount(distinct, minlength=4)) <= 1
    np.testing.assert_array_equal(folds(split, 4, seed=1), fold_of)
    assert (folds(split, 4, seed=2) != fold_of).any()
    for number in (1, 61):
        with pytest.raises(DataError, match=f"{number} folds"):
            folds(split, number, seed=0)


SMALL = {
    "model.c1": 3,
    "model.c2": 3,
    "model.l1": 4,
    "training.epochs": 3,
    "training.batch_size": 10,
    "optimizer.lr": 0.01,
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
}


def test_cross_validation_predicts_each_image_without_having_trained_on_it(tmp_path):
    data = dataset()
    config = load_config(settings=SMALL)
    validation = CrossValidation(data, config, RunFolder(tmp_path), 3)
    with pytest.raises(RunFolderError):
        validation.logits()
    seen = []
    for fold in validation:
        assert len(fold.indices) + len(fold.session._dataset.train) == 90
        held_out = {image.tobytes() for image in data.train.images[fold.indices]}
        assert held_out.isdisjoint(image.tobytes() for image in fold.session._dataset.train.images)
        seen.extend(fold.indices)
        for _ in fold.session:
            pass
    assert sorted(seen) == list(range(90))
    logits = validation.logits()
    assert (logits.shape, logits.dtype) == ((90, 2), np.float32)
    assert (logits.argmax(1) == data.train.labels).mean() > 0.8
    again = CrossValidation(data, config, RunFolder(tmp_path), 3)
    assert all(fold.session.loop.finished for fold in again)
    np.testing.assert_array_equal(again.logits(), logits)


def test_paired_outcomes_are_counted(six):
    better = six.logits.copy()
    better[[1, 3]] = [[9, 0, 0], [9, 0, 0]]  # right now
    better[0] = [0, 9, 0]  # wrong now
    other = evaluated(six.images.labels, better)
    outcome = paired_outcome(six, other)
    assert outcome == PairedOutcome(1, 1, 2, 2)
    assert outcome.difference == pytest.approx(1 / 6)
    found = disagreements(six, other)
    assert [(d.name, d.truth, d.first, d.second) for d in found] == [
        ("0.png", "cat", "cat", "dog"),
        ("1.png", "cat", "dog", "cat"),
        ("3.png", "cat", "dog", "cat"),
    ]


def test_other_images_are_not_compared(six):
    other = evaluated([0, 1], [[1, 0, 0], [0, 1, 0]])
    with pytest.raises(InputError, match="not evaluated on the same images"):
        paired_outcome(six, other)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (40, 70), (900, 1000)])
def test_the_p_value_is_the_binomial_tests(first, second):
    outcome = PairedOutcome(5000, first, second, 100)
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert outcome.p_value == pytest.approx(expected, rel=1e-9)


def test_the_interval_is_walds_for_many_images():
    outcome = PairedOutcome(600_000, 50_000, 70_000, 280_000)
    n, b, c = outcome.num_images, outcome.num_first, outcome.num_second
    half = 1.959964 * np.sqrt(b + c - (c - b) ** 2 / n) / n
    low, high = outcome.interval
    assert (low, high) == pytest.approx((0.02 - half, 0.02 + half), rel=2e-3)
    assert outcome.is_clear


def test_the_interval_covers_the_true_difference():
    random = np.random.default_rng(0)
    cells = np.array([0.6, 0.1, 0.16, 0.14])
    outcomes = [PairedOutcome(*map(int, counts)) for counts in random.multinomial(80, cells, 1500)]
    covered = np.mean([low <= 0.06 <= high for low, high in (o.interval for o in outcomes)])
    assert 0.935 <= covered <= 0.985


def test_the_interval_of_a_published_example():
    """Airway reactivity before and after a transplantation, in Fagerland, Lydersen and Laake 2014: -0.507 to -0.026."""
    outcome = PairedOutcome(1, 7, 1, 12)
    assert outcome.interval == pytest.approx((-0.507, -0.026), abs=5e-4)
    assert not outcome.is_clear  # by the exact test, p = 0.07


def test_intervals_at_the_edges():
    assert PairedOutcome(0, 10, 0, 0).interval[0] == -1
    low, high = PairedOutcome(10, 0, 0, 0).interval
    assert low < 0 < high
    first = PairedOutcome(30, 5, 12, 3)
    mirrored = PairedOutcome(30, 12, 5, 3)
    assert first.interval == pytest.approx(tuple(-bound for bound in reversed(mirrored.interval)))
