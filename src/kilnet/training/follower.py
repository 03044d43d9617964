"""What every process of a shared training does but the first, which decides and writes."""

import signal
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.errors import DataError, InputError, LostRankError
from kilnet.hardware import Settings
from kilnet.training.first_stage import FirstStage
from kilnet.training.initial_model import initial_model, preprocessing_for
from kilnet.training.loop import TrainingLoop
from kilnet.training.ranks import Clock, Ranks, joined
from kilnet.training.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Start:
    """All that the other processes have to know to train along.

    Attributes:
        config, settings: of the run, complete.
        fingerprint: of the images.
        schedule: of the first process.
        clock: that the schedule asks.
        answers: see `TrainingLoop`.
        state: of the loop, as its `state` returns it.
        first: stage of a pretrained network, where it was gone through in this call; else None.
    """

    config: RunConfig
    settings: Settings
    fingerprint: str
    schedule: Schedule
    clock: Clock
    answers: Tensor | None
    state: tuple[dict[str, Tensor], dict[str, Any]]
    first: FirstStage | None


def follow(
    ranks: Ranks, load: Callable[[RunConfig], ImageDataset], own_models: Set[str] = frozenset()
) -> None:
    """Train along until the first process's training is over.

    Ctrl-C and SIGTERM are left to the first process, which saves its state and ends; this one then loses it.

    Args:
        ranks: all processes.
        load: returns the images of a configuration.
        own_models: see `kilnet.models.complete`.

    Raises:
        LostRankError: another process has ended.
        DataError: the images here are others than those of the first process.
    """
    with _signals_ignored():
        start: Start | None = ranks.share(None)
        if start is None:  # there is nothing left to train
            return
        dataset = load(start.config).sealed()
        if dataset.fingerprint != start.fingerprint:
            raise DataError(f"process {ranks.rank} has other images than process 0; give all the same data")
        ranks.clock = start.clock
        preprocessing = preprocessing_for(start.config, dataset)
        loop = TrainingLoop(
            initial_model(start.config, dataset, preprocessing, is_resumed=True, own_models=own_models),
            dataset,
            start.config,
            preprocessing,
            start.settings,
            start.schedule,
            start.answers,
            ranks,
        )
        loop.load_state(*start.state)
        if start.first is not None:
            loop.start(start.first)
        for _ in loop:
            pass


def follow_to_the_end(
    ranks: Ranks, load: Callable[[RunConfig], ImageDataset], own_models: Set[str] = frozenset()
) -> NoReturn:
    """Train along, see `follow`, and end this process with the training; the first process tells of it."""
    try:
        follow(ranks, load, own_models)
    except LostRankError:
        raise SystemExit(1) from None
    raise SystemExit(0)


def refuse_torchrun(what: str) -> None:
    """Refuse what shares its work out by itself where torchrun has started several processes; the first says so.

    Raises:
        InputError: in the first process. The others end silently after it: whoever ends first has the others killed.
    """
    ranks = joined()
    if ranks.size == 1:
        return
    if ranks.rank == 0:
        raise InputError(
            f"torchrun trains one network in several processes, and {what} trains many; start it without"
        )
    with _signals_ignored():
        try:
            ranks.share(None)
        except LostRankError:
            raise SystemExit(InputError.exit_code) from None


@contextmanager
def _signals_ignored() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
