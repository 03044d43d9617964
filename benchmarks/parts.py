"""Where the time of a training goes, part by part, and where that of one step goes, operator by operator.

    python benchmarks/parts.py [--recipe FILE] [--data DATA] [--epochs N] [--data-dir DIR] [--set key=value ...]

Trains as `kilnet train` does, into a folder that is thrown away. A clock around each function that does a part of the
work counts its time, without that of parts within it, so that the parts add up. What is left is the loop itself,
which also picks the images of each batch. Then the third step of another training is profiled.

--set data.num_train=10000 shortens the epoch; validation and saving then weigh more than they do with all images.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from kilnet import hardware
from kilnet.data.augment import Augmentation
from kilnet.data.preprocess import Preprocessing
from kilnet.data.sources import load_dataset
from kilnet.recipes.reading import load_config, parse_settings
from kilnet.training import eager, loop
from kilnet.training.kept_weights import WeightAverage
from kilnet.training.loop import TrainingLoop
from kilnet.training.muon import Muon
from kilnet.training.session import TrainingSession
from kilnet.training.step import RecordedStep, TrainStep
from timed_run import num_flops

RECIPE = Path("fast-94")

# The functions that do each part.
PARTS: dict[str, list[tuple[Any, str]]] = {
    # Less what else is called in it; a step that a GPU plays back is all here, with its optimiser.
    "forward and backward pass": [(TrainStep, "__call__"), (RecordedStep, "__call__")],
    "optimiser": [(Muon, "step"), (eager.EagerStep, "step")],
    "average of the weights": [(WeightAverage, "update")],
    "augmentation": [(Augmentation, "draw"), (Augmentation, "__call__"), (loop, "shrink")],
    "normalisation": [(Preprocessing, "__call__")],
    "batch norm measured": [(TrainingLoop, "_take_statistics")],
    "validation": [(TrainingLoop, "_validate")],
    "saving": [(TrainingSession, "_save_state"), (TrainingSession, "_save_weights")],
}


class Clock:
    """Seconds by part; while a part within another runs, the outer one's clock stands still."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._device = device
        self._last = 0.0

    @contextmanager
    def around(self, part: str) -> Iterator[None]:
        """Count the time of a block."""
        self._advance()
        self._running.append(part)
        try:
            yield
        finally:
            self._advance()
            self._running.pop()

    def _advance(self) -> None:
        if not (self._device.startswith("cuda") and torch.cuda.is_current_stream_capturing()):
            hardware.synchronise(self._device)
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._last
        self._last = now

    @contextmanager
    def watching(self, owner: Any, name: str, part: str) -> Iterator[None]:
        """Count the time of a function, wherever it is called."""
        own = vars(owner)[name]
        is_class_method = isinstance(own, classmethod)
        function: Callable[..., Any] = own.__func__ if is_class_method else own

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.around(part):
                return function(*arguments, **named)

        with patch.object(owner, name, classmethod(timed) if is_class_method else timed):
            yield


def seconds_by_part(session: TrainingSession) -> dict[str, float]:
    """Train to the end; return where the time went."""
    clock = Clock(session.settings.device)
    with ExitStack() as stack:
        for part, functions in PARTS.items():
            for owner, name in functions:
                stack.enter_context(clock.watching(owner, name, part))
        with clock.around("the loop itself"):
            for _ in session:
                pass
    return dict(clock.seconds)


def profiled_step(session: TrainingSession, num_rows: int) -> str:
    """Return the operators of the third step, those that take the most time themselves first."""
    is_on_gpu = session.settings.device.startswith("cuda")
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if is_on_gpu else [])
    with closing(iter(session)) as records:
        next(records), next(records)
        with profile(activities=activities) as result:
            next(records)
            hardware.synchronise(session.settings.device)
    order = "self_device_time_total" if is_on_gpu else "self_cpu_time_total"
    return result.key_averages().table(sort_by=order, row_limit=num_rows, max_name_column_width=48)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rows", type=int, default=20, help="operators to print")
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    settings = {"data.source": options.data, "training.epochs": options.epochs}
    settings |= {"data.dir": options.data_dir} if options.data_dir else {}
    config = load_config(options.recipe, settings | parse_settings(options.set))
    dataset = load_dataset(config.data)
    with TemporaryDirectory() as folder:
        session = TrainingSession(dataset, config, Path(folder))
        used = session.settings
        print(f"{hardware.machine(used.device)}; torch {torch.__version__}; {used.reason}")
        parts = seconds_by_part(session)
    total = sum(parts.values())
    for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"{part:26} {seconds:8.2f} s {seconds / total:7.2%}")
    speed = num_flops(dataset, config, options.epochs) / total / 1e9
    product = hardware.matmul_gflops(used.precision, used.device, 2048 if used.device == "cpu" else 8192)
    print(
        f"{'all':26} {total:8.2f} s, {len(dataset.train) * options.epochs / total:,.0f} images/s, "
        f"{speed:,.0f} GFLOP/s: {speed / product:.0%} of a matrix product's {product:,.0f}\n"
    )
    with TemporaryDirectory() as folder:
        print(profiled_step(TrainingSession(dataset, config, Path(folder)), options.rows))


if __name__ == "__main__":
    main()
