"""A run, as verbs return and take it."""

from dataclasses import dataclass
from pathlib import Path

from kilnet import models
from kilnet.config import RunConfig
from kilnet.training.records import EpochRecord


@dataclass(frozen=True, eq=False)
class Run:
    """A training run on disk.

    Attributes:
        folder: its run folder.
        config: complete.
        history: a record an epoch.
        best: the record whose weights are kept.
        num_validation: images behind each validation accuracy.
        finished: whether there is nothing left to train.
    """

    folder: Path
    config: RunConfig
    history: tuple[EpochRecord, ...]
    best: EpochRecord
    num_validation: int
    finished: bool


def folder_of(run: Run | str | Path) -> Path:
    """Return the folder of what a verb was given as a run."""
    return run.folder if isinstance(run, Run) else Path(run)


def own_models(run: Run | str | Path, named: str | None) -> frozenset[str]:
    """Return the network that the caller named, here or when it trained the run in this process."""
    return models.own_models(run.config.model.name if isinstance(run, Run) else named)
