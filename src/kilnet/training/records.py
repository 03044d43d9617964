"""What training reports: one record per step, one per epoch, and one within the first where it is asked for."""

from dataclasses import asdict, dataclass
from typing import Any

from kilnet.config import Select


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step.

    Attributes:
        epoch: counted from 1; 0 is a pretrained network whose last layer is being fitted.
        step: steps done in this epoch, of `num_steps`.
        num_images: images of this step.
        seconds_left: until the budget is spent; None where there is none.
    """

    epoch: int
    step: int
    num_steps: int
    num_images: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class EarlyRecord:
    """A validation within the first epoch, of which nothing is kept but this.

    Attributes:
        epoch: the part of the first epoch after which it was asked for, above 0 and below 1; rounded to a step there.
        validation_loss, validation_accuracy, num_validation_correct, num_validation, validation_macro_recall: as in an
            `EpochRecord`.
    """

    epoch: float
    validation_loss: float
    validation_accuracy: float
    num_validation_correct: int
    num_validation: int
    validation_macro_recall: float | None = None


@dataclass(frozen=True)
class EpochRecord:
    """One epoch, with everything that depends on the seed and nothing that depends on the clock.

    With a budget, a record may cover several epochs since the record before, the last of them perhaps in part.

    Attributes:
        epoch: the last one covered, counted from 1; 0 is a pretrained network whose last layer was fitted, with loss
            and accuracy of the training images as they are.
        lr: learning rate of the last step.
        train_loss: mean over the images as they were trained on: augmented, dropout on, labels smoothed.
        train_accuracy: likewise; 0 to 1.
        validation_loss: mean cross-entropy in nats, labels not smoothed; of each image as it is, whatever views the
            weights will be used with.
        validation_accuracy: 0 to 1.
        num_validation_correct: the count behind it.
        num_validation: the images that were validated; 0 where a run folder no longer tells.
        is_best: whether the weights of this epoch are kept in place of those before: the best so far, or the latest if
            the configuration keeps the last.
        validation_macro_recall: the mean of the classes' recalls, 0 to 1; None unless it is what epochs are chosen by.
    """

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    num_validation_correct: int
    num_validation: int
    is_best: bool
    validation_macro_recall: float | None = None

    def watched(self, select: Select) -> float:
        """Return what should fall, as `training.select` says: the validation loss, or what is missing to 100%."""
        if select == "loss":
            return self.validation_loss
        return 1 - (self.validation_accuracy if select == "accuracy" else self.validation_macro_recall or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-able values; macro recall only where it was computed."""
        return {name: value for name, value in asdict(self).items() if value is not None}


Record = StepRecord | EarlyRecord | EpochRecord
"""What a training yields; an `EarlyRecord` only where one is asked for."""
