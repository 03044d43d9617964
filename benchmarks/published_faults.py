"""What the faults of the published tutorial's code do to its numbers, each repeated with code of our own.

    python benchmarks/published_faults.py RUN [--num-train N] [--epochs N] [--shrink N] [--data-dir DIR]

RUN is a trained ConvNet or ConfigNet, for example of the recipe tutorial-base. Its weights show dropout left on,
scores of classes from the last batch alone, a loss averaged over unequal batches, recall divided by the wrong sums, and
samples that are not normalised. Then the tutorial's grid is trained on the first training images, its widths divided by
--shrink, and judged as published: an early stopper that saves another network, the last epoch in the place of the best
one, and the test images choosing.

The test split is read here as the published code reads it; nothing of Kilnet is chosen by it.
"""

import argparse
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kilnet import models
from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.inference.classifier import Classifier
from kilnet.inference.forward import measure_batch_norm
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import wilson_interval
from kilnet.models.layers import Dropout
from kilnet.recipes.changes import change
from kilnet.runs.run import Run
from kilnet.terminal.progress import ProgressDisplay
from kilnet.training.loop import TrainingLoop
from kilnet.training.records import EpochRecord
from kilnet.training.schedule import EarlyStopping

BATCH_SIZE, BASE_BATCH_SIZE = 512, 24  # the published ones: of the search, and of the base network
PATIENCE = 3
NUM_REPEATS = 1000
GRID = {"c1": (48, 96), "c2": (96, 192), "l1": (256, 512)}

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Right = npt.NDArray[np.bool_]


def logits(
    network: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings, dropout: bool
) -> Logits:
    """Run a network in evaluation mode, its dropout on or off: float32 (num_images, num_classes)."""
    network.eval()
    for layer in network.modules():
        if isinstance(layer, Dropout):
            layer.train(dropout)
    parts = []
    with torch.inference_mode():
        for batch in pixels.split(BATCH_SIZE):
            images = preprocessing(batch.to(settings.device)).contiguous(memory_format=settings.memory_format)
            with settings.autocast():
                parts.append(network(images).float().cpu())
    return torch.cat(parts).numpy()


def take_statistics_as_in_training(network: nn.Module, pixels: Tensor, of: Classifier) -> None:
    """Measure batch norm on these images with dropout on."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
            layer.momentum = None  # all batches alike
    network.train()
    with torch.inference_mode(), of.settings.autocast():
        for batch in pixels.split(BATCH_SIZE):
            network(of.preprocessing(batch.to(of.settings.device)))


@dataclass(frozen=True)
class Repeated:
    """Accuracy and loss (nats) over repeated evaluations of the same weights, and how many answers change."""

    accuracies: tuple[float, ...]
    losses: tuple[float, ...]
    changed: float

    @classmethod
    def of(cls, passes: Sequence[Logits], labels: Labels) -> "Repeated":
        evaluations = [scored(one, labels) for one in passes]
        answers = [one.argmax(1) for one in passes]
        changed = [np.mean(a != b) for a, b in pairwise(answers)]
        return cls(
            tuple(one.accuracy for one in evaluations),
            tuple(one.loss for one in evaluations),
            float(np.mean(changed)) if changed else 0.0,
        )

    def __str__(self) -> str:
        text = f"accuracy {np.mean(self.accuracies):.2%}, loss {np.mean(self.losses):.3f}"
        if len(self.accuracies) == 1:
            return text
        return (
            f"{text} over {len(self.accuracies)} passes (deviation {100 * np.std(self.accuracies, ddof=1):.2f} points, "
            f"{np.std(self.losses, ddof=1):.4f}); {self.changed:.1%} of the answers change from pass to pass"
        )


def scored(values: Logits, labels: Labels) -> Evaluation:
    """Return the evaluation of some logits."""
    return Evaluation.from_logits("test", tuple(map(str, range(values.shape[1]))), values, labels)


def dropout_left_on(
    classifier: Classifier, train: Split, test: Split, num_passes: int = 5
) -> dict[str, Repeated]:
    """Evaluate the same weights as published, with dropout off, and with batch norm measured so too."""
    network = deepcopy(classifier.model)
    pixels, some = torch.from_numpy(test.images), torch.from_numpy(train.images[:2048])

    def evaluated(dropout: bool, passes: int) -> Repeated:
        results = []
        for seed in range(passes):
            torch.manual_seed(seed)
            results.append(logits(network, pixels, classifier.preprocessing, classifier.settings, dropout))
        return Repeated.of(results, test.labels)

    torch.manual_seed(0)
    take_statistics_as_in_training(network, some, classifier)
    found = {
        "dropout on, as published": evaluated(True, num_passes),
        "dropout off, batch norm's statistics as they were": evaluated(False, 1),
    }
    measure_batch_norm(network, some, classifier.preprocessing, classifier.settings)
    return found | {"dropout off, statistics taken so too": evaluated(False, 1)}


@dataclass(frozen=True)
class LastBatch:
    """Accuracies of the classes from the last batch beside those from all images.

    Attributes:
        num_images: in the last batch.
        error, largest: mean and largest difference over the classes, as the images lie.
        mean_error, mean_largest: the same, means over shuffles.
        half_width: of the 95% intervals from the last batch, mean over the classes, as the images lie.
        hardest_found: part of the shuffles in which the hardest class is the hardest one.
    """

    num_images: int
    error: float
    largest: float
    mean_error: float
    mean_largest: float
    half_width: float
    hardest_found: float


def per_class_from_last_batch(right: Right, labels: Labels, batch_size: int = BATCH_SIZE) -> LastBatch:
    """Compare the accuracies of classes that only the last batch gives with those of all images."""
    num_classes = int(labels.max()) + 1
    num_images = len(labels) % batch_size or batch_size

    def recalls(places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        counts = np.bincount(labels[places], minlength=num_classes)
        hits = np.bincount(labels[places], right[places], num_classes)
        return hits / np.where(counts, counts, np.nan)

    everything = np.arange(len(labels))
    truth = recalls(everything)
    last = everything[-num_images:]
    errors = [np.abs(recalls(last) - truth)]
    found = []
    stream = np.random.default_rng(0)
    for _ in range(NUM_REPEATS):
        guess = recalls(stream.choice(len(labels), num_images, replace=False))
        errors.append(np.abs(guess - truth))
        found.append(np.nanargmin(guess) == truth.argmin())
    widths = []
    for label in range(num_classes):
        of_class = right[last][labels[last] == label]
        low, high = wilson_interval(int(of_class.sum()), len(of_class))
        widths.append((high - low) / 2)
    return LastBatch(
        num_images,
        float(np.nanmean(errors[0])),
        float(np.nanmax(errors[0])),
        float(np.mean([np.nanmean(error) for error in errors[1:]])),
        float(np.mean([np.nanmax(error) for error in errors[1:]])),
        float(np.mean(widths)),
        float(np.mean(found)),
    )


def loss_of_batches(values: Logits, labels: Labels, batch_size: int) -> tuple[float, float]:
    """Return by how many nats a mean of batches' means is off: (mean, largest) over shuffles."""
    losses = torch.nn.functional.cross_entropy(
        torch.from_numpy(values).double(), torch.from_numpy(labels), reduction="none"
    )
    stream = np.random.default_rng(0)
    errors = []
    for _ in range(NUM_REPEATS):
        shuffled = losses[torch.from_numpy(stream.permutation(len(labels)))]
        means = [float(batch.mean()) for batch in shuffled.split(batch_size)]
        errors.append(abs(np.mean(means) - float(losses.mean())))
    return float(np.mean(errors)), float(np.max(errors))


@dataclass(frozen=True)
class RecallMap:
    """A recall map whose columns were divided by the sums of the rows, of unbalanced classes.

    Attributes:
        worst: the cell that is furthest off, as (right, shown).
        row_sums: smallest and largest sum of a row, which should be 1.
    """

    worst: tuple[float, float]
    row_sums: tuple[float, float]


def recall_map(confusion: npt.NDArray[np.int64]) -> RecallMap:
    """Divide a confusion matrix as published: numpy lays the sums of the rows along the columns."""
    sums = confusion.sum(axis=1)
    right, shown = confusion / sums[:, None], confusion / sums
    worst = np.unravel_index(np.abs(shown - right).argmax(), right.shape)
    totals = shown.sum(axis=1)
    return RecallMap((float(right[worst]), float(shown[worst])), (float(totals.min()), float(totals.max())))


def unbalanced(labels: Labels) -> npt.NDArray[np.int64]:
    """Return places at which class k of n has (k + 1) / n of its images."""
    num_classes = int(labels.max()) + 1
    kept = [
        places[: round(len(places) * (label + 1) / num_classes)]
        for label in range(num_classes)
        for places in [np.flatnonzero(labels == label)]
    ]
    return np.concatenate(kept)


@dataclass(frozen=True, eq=False)
class PublishedTrial:
    """One cell of the grid, trained and judged as published.

    Attributes:
        name: its widths.
        losses, accuracies: of each epoch on the test images, dropout on.
        right: bool (num_epochs, num_test), of the same.
        saved_fit: whether the saved weights fit the network that was trained.
        saved_accuracy: of the saved weights, in the network that they fit.
    """

    name: str
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    right: Right
    saved_fit: bool
    saved_accuracy: float


def search_as_published(
    dataset: ImageDataset, base: RunConfig, shrink: int, settings: Settings, display: ProgressDisplay
) -> Iterator[PublishedTrial]:
    """Train every cell of the grid; an early stopper watches the test loss and saves the network it can see."""
    shape, num_classes = dataset.image_shape, len(dataset.classes)
    preprocessing, test = Preprocessing.half(dataset), torch.from_numpy(dataset.test.images)
    cells = [dict(zip(GRID, cell, strict=True)) for cell in product(*GRID.values())]
    torch.manual_seed(base.seed)
    first = _config(base, cells[0], shrink)
    visible = models.build(first.model, shape, num_classes)  # made before the search, and never trained
    settings.place(visible)
    for number, cell in enumerate(cells):
        config = _config(base, cell, shrink)
        torch.manual_seed(base.seed + number)
        network = models.build(config.model, shape, num_classes)
        loop = TrainingLoop(network, dataset, config, preprocessing, settings)
        stopping, saved, passes = EarlyStopping(PATIENCE), visible.state_dict(), []
        for record in loop:
            if isinstance(record, EpochRecord):
                passes.append(logits(loop.model, test, preprocessing, settings, dropout=True))
                if stopping.step(scored(passes[-1], dataset.test.labels).loss):
                    saved = deepcopy(visible.state_dict())
                if stopping.should_stop:
                    break
        name = ", ".join(f"{key} {value // shrink}" for key, value in cell.items())
        display.say(f"{name}: {len(passes)} epochs")
        fits = all(saved[key].shape == value.shape for key, value in loop.model.state_dict().items())
        of_saved = scored(logits(visible, test, preprocessing, settings, dropout=False), dataset.test.labels)
        evaluations = [scored(one, dataset.test.labels) for one in passes]
        yield PublishedTrial(
            name,
            tuple(one.loss for one in evaluations),
            tuple(one.accuracy for one in evaluations),
            np.stack([one.argmax(1) == dataset.test.labels for one in passes]),
            fits,
            of_saved.accuracy,
        )


def _config(base: RunConfig, cell: dict[str, int], shrink: int) -> RunConfig:
    widths = {f"model.{key}": value // shrink for key, value in cell.items()}
    config = change(base, widths, "the grid")
    return config.model_copy(update={"model": models.complete(config.model)})


def optimism(right: Right, num_images: int) -> tuple[float, float, float]:
    """Choose the best of some networks on so many images, and look at it on as many others, many times.

    Args:
        right: bool (num_networks, num_test).
        num_images: of either part.

    Returns:
        The mean of its accuracy where it was chosen less its accuracy on the others, the deviation of that
        mean, and how often the others would have chosen it too.
    """
    stream = np.random.default_rng(0)
    gaps, agreed = [], []
    for _ in range(NUM_REPEATS):
        order = stream.permutation(right.shape[1])
        chosen_on, others = (right[:, part].mean(1) for part in np.split(order[: 2 * num_images], 2))
        best = int(chosen_on.argmax())
        gaps.append(chosen_on[best] - others[best])
        agreed.append(best == others.argmax())
    return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / NUM_REPEATS**0.5), float(np.mean(agreed))


def show_network(classifier: Classifier, dataset: ImageDataset) -> None:
    """Print the faults that need no training."""
    test, settings = dataset.test, classifier.settings
    for name, repeated in dropout_left_on(classifier, dataset.train, test).items():
        print(f"{name}: {repeated}")
    values = classifier.logits(test.images)
    predicted = values.argmax(1)
    last = per_class_from_last_batch(predicted == test.labels, test.labels)
    print(
        f"classes from the last {last.num_images} images: off by {100 * last.error:.1f} points a class, at most "
        f"{100 * last.largest:.1f} (95% intervals of ± {100 * last.half_width:.1f}); over {NUM_REPEATS} shuffles "
        f"{100 * last.mean_error:.1f} and {100 * last.mean_largest:.1f}, the hardest class found in "
        f"{last.hardest_found:.0%}"
    )
    for batch_size in (BATCH_SIZE, BASE_BATCH_SIZE):
        mean, largest = loss_of_batches(values, test.labels, batch_size)
        print(f"mean of the means of batches of {batch_size}: off by {mean:.5f} nats, at most {largest:.5f}")
    kept = unbalanced(test.labels)
    found = recall_map(scored(values[kept], test.labels[kept]).confusion)
    print(
        f"recall divided by the wrong sums, {len(kept):,} unbalanced images: {found.worst[0]:.1%} is shown as "
        f"{found.worst[1]:.1%}; rows add up to {found.row_sums[0]:.2f} to {found.row_sums[1]:.2f}"
    )
    channels = len(classifier.preprocessing.mean)
    raw = Preprocessing((0.0,) * channels, (1.0,) * channels, classifier.preprocessing.image_size)
    pixels = torch.from_numpy(test.images)
    unnormalised = scored(logits(classifier.model, pixels, raw, settings, dropout=False), test.labels)
    bright = float(test.images.mean() / 255)
    print(
        f"samples that are not normalised: accuracy {unnormalised.accuracy:.2%} in place of "
        f"{scored(values, test.labels).accuracy:.2%}; drawn at a brightness of "
        f"{bright / 2 + 0.05:.0%}, not {bright:.0%}"
    )


def show_search(trials: Sequence[PublishedTrial]) -> None:
    """Print the faults of the search."""
    for trial in trials:
        best = int(np.argmin(trial.losses))
        print(
            f"{trial.name}: reported {trial.accuracies[-1]:.2%}, loss {trial.losses[-1]:.3f} "
            f"(epoch {len(trial.losses)}); best epoch {best + 1}: {trial.accuracies[best]:.2%}, "
            f"{trial.losses[best]:.3f}; saved: {trial.saved_accuracy:.2%}, "
            f"{'fits' if trial.saved_fit else 'does not fit the network'}"
        )
    last, best_losses = [trial.losses[-1] for trial in trials], [min(trial.losses) for trial in trials]
    print(
        f"chosen by the last epoch: {trials[int(np.argmin(last))].name}; by the best: "
        f"{trials[int(np.argmin(best_losses))].name}; the last epoch's loss is "
        f"{np.mean(np.subtract(last, best_losses)):.3f} nats higher on average"
    )
    cells = np.stack([trial.right[-1] for trial in trials])
    epochs = np.concatenate([trial.right for trial in trials])
    for name, right in ((f"{len(cells)} networks", cells), (f"all {len(epochs)} epochs", epochs)):
        for num_images in [n for n in (250, 1000) if 2 * n < right.shape[1]] + [right.shape[1] // 2]:
            mean, error, agreed = optimism(right, num_images)
            print(
                f"best of {name} chosen on {num_images:,} test images: {100 * mean:.2f} points too good "
                f"(± {200 * error:.2f}); as many others choose the same one in {agreed:.0%}"
            )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--num-train", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--shrink", type=int, default=8, help="the grid's widths are divided by it")
    parser.add_argument("--batch-size", type=int, default=64, help="of the grid's training")
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    options = parser.parse_args(arguments)
    with ProgressDisplay() as display:
        run = Run(options.run)
        dataset = run.own_data(data_dir=options.data_dir, progress=display.advance)
        display.warn(dataset.warnings)
        show_network(run.classifier, dataset)
        settings = {
            "augment": "tutorial",
            "optimizer.schedule": "constant",
            "training.epochs": options.epochs,
            "training.batch_size": options.batch_size,
            "training.batch_norm_images": 0,
        }
        base = change(RunConfig(), settings, "the published settings")
        train, validation = (
            split.take(np.arange(min(most, len(split))))
            for split, most in (
                (dataset.train, options.num_train),
                (dataset.validation, 100),  # the loop wants some; nobody looks at what it says
            )
        )
        fewer = replace(dataset, train=train, validation=validation)
        show_search(list(search_as_published(fewer, base, options.shrink, run.classifier.settings, display)))


if __name__ == "__main__":
    main()
