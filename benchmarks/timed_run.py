"""One training run of a recipe, timed: the seconds it took, the floating point operations it did, what it reached.

    python benchmarks/timed_run.py RECIPE --out RUN [--epochs N] [--seed N] [--until ACCURACY] [--set key=value ...]
    python benchmarks/timed_run.py RECIPE --steps N [--seed N] [--set key=value ...]

The clock runs from images in memory to validated weights on disk: the network is built and its first layer fitted,
the settings are measured (where the cache does not know them yet), every step, the validation after each epoch, the
states that are saved. Outside it are the start of Python, imports, reading the data, and the test split, which is
read once, at the end. Training ends with its epochs, or after the first epoch that is the best so far and has a
validation accuracy of at least --until.

RUN is a Kilnet run folder. Stopped and started again, a run resumes; the seconds that led to the saved state count,
those after it are lost with what they computed. With --steps, so many training steps are timed after one to warm
up, and nothing is kept. Prints one JSON object.
"""

import argparse
import json
import math
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from kilnet import models
from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import load_dataset
from kilnet.hardware import matmul_gflops, synchronise
from kilnet.recipes.reading import load_config, parse_settings
from kilnet.runs.evaluation import evaluate_classifier, write_evaluation
from kilnet.runs.run import Run
from kilnet.storage import write_json
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.resolution import size_at
from kilnet.training.run_folder import RunFolder
from kilnet.training.session import TrainingSession


@dataclass(frozen=True)
class TimedRun:
    """What a run took and reached.

    Attributes:
        seconds: from images in memory to validated weights.
        test_seconds: from the weights to the logits of all test images, with the views of the recipe.
        num_epochs: that were trained.
        validation_accuracy: of the weights that were kept; one view.
        test_accuracy: of the same weights, as `kilnet evaluate` has it.
        num_test: images behind it.
        teraflop: floating point operations of training and validation, 10^12; a multiplication and an addition are two.
        matmul_gflops: of a matrix product in the run's precision, with its threads, measured afterwards.
    """

    seconds: float
    test_seconds: float
    num_epochs: int
    validation_accuracy: float
    test_accuracy: float
    num_test: int
    teraflop: float
    matmul_gflops: float


def timed_run(dataset: ImageDataset, config: RunConfig, path: Path, until: float = math.inf) -> TimedRun:
    """Train, or go on; then read the test split, once.

    Args:
        until: validation accuracy after which training ends, 0 to 1.
    """
    outcome = path / "timed_run.json"
    if not outcome.exists():
        seconds = _train(dataset, config, path, until)
        folder = RunFolder(path)
        best = [record for record in folder.history() if record.is_best][-1]
        classifier = Run(path).classifier
        classifier.settings.apply()
        start = time.perf_counter()
        evaluated = evaluate_classifier(classifier, dataset, "test")
        test_seconds = time.perf_counter() - start
        with folder.locked():
            write_evaluation(folder, evaluated)
        num_epochs = len(folder.history())
        device = classifier.settings.device
        run = TimedRun(
            seconds=seconds,
            test_seconds=test_seconds,
            num_epochs=num_epochs,
            validation_accuracy=best.validation_accuracy,
            test_accuracy=evaluated.evaluation.accuracy,
            num_test=len(evaluated.images),
            teraflop=num_flops(dataset, config, num_epochs) / 1e12,
            matmul_gflops=matmul_gflops(
                classifier.settings.precision, device, 2048 if device == "cpu" else 8192
            ),
        )
        write_json(outcome, asdict(run))
    return TimedRun(**json.loads(outcome.read_text()))


def _train(dataset: ImageDataset, config: RunConfig, path: Path, until: float) -> float:
    """Train to the end; return the seconds of all processes that worked on it."""
    clock, state = path / "clock.json", RunFolder(path).state_path
    seconds = json.loads(clock.read_text())["seconds"] if clock.exists() else 0.0
    start = time.perf_counter() - seconds
    session = TrainingSession(dataset, config, path)
    print(f"{session.settings.device}: {session.settings.reason}", file=sys.stderr)

    def saved() -> int | None:
        return state.stat().st_mtime_ns if state.exists() else None

    def reached() -> bool:
        return any(record.is_best and record.validation_accuracy >= until for record in session.loop.history)

    last_saved = saved()
    if not session.loop.finished and not reached():
        with closing(iter(session)) as records:
            for record in records:
                if saved() != last_saved:
                    synchronise(session.settings.device)
                    last_saved, seconds = saved(), time.perf_counter() - start
                    write_json(clock, {"seconds": seconds})
                if isinstance(record, EpochRecord):
                    print(
                        f"{path}: epoch {record.epoch}, validation {record.validation_accuracy:.2%}, {seconds:.1f} s",
                        file=sys.stderr,
                    )
                    if reached():
                        break
    return seconds


def step_seconds(dataset: ImageDataset, config: RunConfig, num_steps: int) -> dict[str, float]:
    """Return the mean seconds of so many training steps, after one to warm up: of the clock and of the processor."""
    with TemporaryDirectory() as folder:
        session = TrainingSession(dataset, config, Path(folder))
        device = session.settings.device
        print(f"{device}: {session.settings.reason}", file=sys.stderr)
        with closing(iter(session)) as records:
            steps = (record for record in records if isinstance(record, StepRecord))
            next(steps)
            synchronise(device)
            start, processor_start = time.perf_counter(), time.process_time()
            for _ in range(num_steps):
                next(steps)
            synchronise(device)
            seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
    return {"step_seconds": seconds / num_steps, "step_cpu_seconds": processor_seconds / num_steps}


def num_flops(dataset: ImageDataset, config: RunConfig, num_epochs: int) -> int:
    """Count the floating point operations of a run: steps at their resolutions, batch norm's measuring, validation."""
    channels, height, width = dataset.image_shape
    model = models.build(models.complete(config.model), dataset.image_shape, len(dataset.classes))
    training = config.training
    batch_size = training.batch_size_for(len(dataset.train))
    num_steps = -(-len(dataset.train) // batch_size)
    total = 0
    counts: dict[Any, int] = {}  # by the size of the images and what learns
    for step in range(num_epochs * num_steps):
        done = step / (num_steps * training.epochs)
        size = size_at(training.low_resolution, done, height, width)
        models.advance(model, done)
        key = size, tuple(parameter.requires_grad for parameter in model.parameters())
        if key not in counts:
            counts[key] = _flops_of_one_image(model, (channels, *size), backward=True)
        num_images = min(batch_size, len(dataset.train) - step % num_steps * batch_size)
        total += num_images * counts[key]
    num_seen = min(training.batch_norm_images, len(dataset.train)) + len(dataset.validation)
    return total + num_epochs * num_seen * _flops_of_one_image(model, dataset.image_shape, backward=False)


def _flops_of_one_image(model: torch.nn.Module, shape: tuple[int, int, int], backward: bool) -> int:
    images, labels = torch.zeros(2, *shape), torch.zeros(2, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        loss = F.cross_entropy(model(images), labels)
        if backward:
            loss.backward()
    return counter.get_total_flops() // 2


def configured(recipe: Path, settings: dict[str, Any], epochs: int | None, seed: int) -> RunConfig:
    """Return a recipe's configuration, with settings by dotted key."""
    settings = settings | {"seed": seed} | ({"training.epochs": epochs} if epochs else {})
    return load_config(recipe, settings)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, help="time only so many training steps")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--until", type=float, default=math.inf, help="validation accuracy that is enough, 0 to 1"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    if (options.out is None) == (options.steps is None):
        parser.error("give --out or --steps")
    config = configured(options.recipe, parse_settings(options.set), options.epochs, options.seed)
    dataset = load_dataset(config.data)
    if options.steps:
        print(json.dumps(step_seconds(dataset, config, options.steps)))
    else:
        print(json.dumps(asdict(timed_run(dataset, config, options.out, options.until))))


if __name__ == "__main__":
    main()
