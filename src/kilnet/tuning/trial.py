"""One trial of a search: what it tries, how far it has come, and how good it is."""

from collections.abc import Collection
from dataclasses import dataclass

from kilnet.config import Select
from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.training.schedule import EarlyStopping
from kilnet.tuning.space import Values


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is known of a trial.

    Attributes:
        number: from 0, in the order of proposal.
        values: of the searched keys.
        history: the epochs that it has been trained for.
        early: its validations within the first epoch, where rungs end there.
        reasons: what went wrong, oldest first; empty for most.
        failed: whether it has been given up.
        num_epochs: to train at most.
        patience: epochs without a lower validation loss after which it ends; None for never.
        min_delta: how much lower counts.
        select: what an epoch is chosen by; see `training.select`.
    """

    number: int
    values: Values
    history: tuple[EpochRecord, ...]
    reasons: tuple[str, ...]
    failed: bool
    num_epochs: int
    patience: int | None
    min_delta: float
    select: Select = "loss"
    early: tuple[EarlyRecord, ...] = ()

    @property
    def num_epochs_done(self) -> float:
        """For how many epochs it has been trained; fitting the last layer of a pretrained network is none."""
        return max((seen[-1].epoch for seen in (self.history, self.early) if seen), default=0)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train: all epochs are done, or patience has run out."""
        stopping = EarlyStopping(self.patience, self.min_delta)
        for record in self.history:
            stopping.step(record.watched(self.select))
        return self.num_epochs_done >= self.num_epochs or stopping.should_stop

    def status(self, stopped: Collection[int]) -> str:
        """Return "failed", "finished" (trained to its end), "stopped" (by a rung), or "waiting"."""
        if self.failed:
            return "failed"
        if self.finished:
            return "finished"
        return "stopped" if self.number in stopped else "waiting"

    def reached(self, epoch: float) -> bool:
        """Whether it can be compared after `epoch` epochs."""
        return self.num_epochs_done >= epoch or self.finished

    def best(self, epoch: float | None = None) -> EpochRecord | None:
        """Return the record whose weights were kept within the first `epoch` epochs, or within all."""
        kept = [
            record for record in self.history if record.is_best and (epoch is None or record.epoch <= epoch)
        ]
        return kept[-1] if kept else None

    def result(self, epoch: float | None = None) -> EpochRecord | EarlyRecord | None:
        """Return what it is compared by after `epoch` epochs, or after all: as `best`, else within the first epoch."""
        early = [record for record in self.early if epoch is None or record.epoch == epoch]
        if epoch is not None and epoch < 1:
            return early[-1] if early else self.best(1)
        return self.best(epoch) or (early[-1] if early else None)

    def rank(self, epoch: float | None = None) -> tuple[float, float, int]:
        """Return what trials are sorted by, best first.

        Validation accuracy of their `result` after `epoch` epochs, or macro recall where epochs are chosen by that,
        then the loss, then the order of proposal.
        """
        best = self.result(epoch)
        if best is None:
            return (1.0, 0.0, self.number)
        good = best.validation_macro_recall if self.select == "macro-recall" else best.validation_accuracy
        return (-(good or 0.0), best.validation_loss, self.number)
