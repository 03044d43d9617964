"""The training loop: an iterator of records that prints nothing, saves nothing and can be left at any record."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet import models
from kilnet.config import RunConfig
from kilnet.data.augment import Augmentation
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import DivergedError
from kilnet.hardware import Settings
from kilnet.inference import forward
from kilnet.seeding import derive, generator
from kilnet.training.averaging import WeightAverage
from kilnet.training.early_stopping import EarlyStopping
from kilnet.training.optim import lr_factor, make_optimizer
from kilnet.training.resolution import shrink, size_at
from kilnet.training.step import is_recorded, make_step
from kilnet.training.timer import Timer

# Losses stay on the device for so many steps: reading each would make a GPU wait for the CPU.
_STEPS_BETWEEN_READS = 50


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step.

    Attributes:
        epoch: counted from 1.
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
class EpochRecord:
    """One epoch, with everything that depends on the seed and nothing that depends on the clock.

    With a budget it may also be several epochs since the record before, the last of them perhaps in part.

    Attributes:
        epoch: the last that it holds, counted from 1.
        lr: learning rate of the last step.
        train_loss: mean over the images as they were trained on: augmented, dropout on, labels smoothed.
        train_accuracy: likewise; 0 to 1.
        validation_loss: mean cross-entropy in nats, labels not smoothed; of each image as it is, whatever views the
            weights will be used with.
        validation_accuracy: 0 to 1.
        num_validation_correct: the count behind it.
        is_best: whether the weights of this epoch are kept in place of those before: the best so far, or the latest if
            the configuration keeps the last.
    """

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    num_validation_correct: int
    is_best: bool


class TrainingLoop:
    """Trains a network: iterate to get a `StepRecord` a step and an `EpochRecord` an epoch.

    The order of the images, their augmentation and the dropout masks depend on the seed, the epoch and the step
    alone, so that a loop whose state is loaded goes on as if it had never stopped: on a CPU, to the same bytes.

    With a timer, what follows the course of the run (learning rate, resolution) follows the time instead of the
    epochs, and the run ends when its time is up, be it in the middle of an epoch. Where validating would take too large
    a part of the time, it is left out.

    Args:
        model: a network on any device, in any mode.
        dataset: its train and validation splits are used.
        config: augmentation, optimiser, length and seed.
        preprocessing: normalisation of the pixels.
        settings: device, precision, layout and threads.
        timer: for a run with a budget.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: ImageDataset,
        config: RunConfig,
        preprocessing: Preprocessing,
        settings: Settings,
        timer: Timer | None = None,
    ) -> None:
        settings.apply()
        self.model = settings.place(model)
        self.history: list[EpochRecord] = []
        self._config = config
        self._preprocessing = preprocessing
        self._settings = settings
        self._timer = timer
        self._train = _on_device(dataset.train, settings)
        self._validation = _on_device(dataset.validation, settings)
        self._batch_size = config.training.batch_size_for(len(dataset.train))
        part_of_batch = self._batch_size / config.training.batch_size
        rates_on = settings.device if is_recorded(config, settings) else None
        self._optimizer = make_optimizer(config.optimizer, self.model.parameters(), part_of_batch, rates_on)
        self._step = make_step(self.model, self._optimizer, config, settings)
        self._average: WeightAverage | None = None
        if config.training.averaging_epochs:
            steps_per_epoch = len(dataset.train) / self._batch_size
            num_steps = max(1.0, config.training.averaging_epochs * steps_per_epoch)
            self._average = WeightAverage(self.model, num_steps)
        self._stopping = EarlyStopping(config.training.patience, config.training.min_delta)
        self._is_over = False  # with a timer
        self._last_moment = 0.0  # of the schedule, in epochs
        self._num_epochs_done = 0
        self._num_steps_done = 0  # in the present epoch
        self._loss_sum = 0.0  # since the last record, as are the counts below
        self._num_correct = 0
        self._num_images = 0
        self._unread: list[tuple[Tensor, Tensor, int]] = []

    @property
    def validated_model(self) -> nn.Module:
        """The network that is validated, and worth keeping: the one that trains, or the average of its weights."""
        return self._average.model if self._average else self.model

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the time is up, or patience is spent."""
        return self._is_at_its_end or self._stopping.should_stop

    @property
    def stopped_early(self) -> bool:
        """Whether patience was spent before the end."""
        return self._stopping.should_stop and not self._is_at_its_end

    def __iter__(self) -> Iterator[StepRecord | EpochRecord]:
        timer = self._timer
        if timer:
            timer.begin()
        while not self.finished:
            yield from self._train_epoch()
            if timer is None:
                yield self._finish_epoch()
            elif timer.is_up and not self._num_trained_since_record:
                self._is_over = True
            elif timer.validation_is_due:
                start = timer.clock()
                yield self._finish_epoch()
                timer.note_validation(timer.clock() - start)  # with what the caller does to keep it
            else:
                self._begin_next_epoch()

    @property
    def _num_trained_since_record(self) -> int:
        return self._num_images + sum(num_images for _, _, num_images in self._unread)

    @property
    def _is_at_its_end(self) -> bool:
        return self._is_over if self._timer else self._num_epochs_done >= self._config.training.epochs

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that is needed to go on: tensors by name, and the rest as JSON-able values.

        Raises:
            DivergedError: the loss is not finite; such a state is not worth keeping.
        """
        self._read_losses()
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self._average:
            averaged = self._average.model.state_dict()
            tensors |= {f"average/{name}": tensor for name, tensor in averaged.items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
        rest = {
            "num_epochs_done": self._num_epochs_done,
            "num_steps_done": self._num_steps_done,
            "loss_sum": self._loss_sum,
            "num_correct": self._num_correct,
            "num_images": self._num_images,
            "best_loss": self._stopping.best_loss,
            "num_bad": self._stopping.num_bad,
            "history": [asdict(record) for record in self.history],
        }
        if self._timer:
            rest["last_moment"] = self._last_moment
            rest["is_over"] = self._is_over
            rest["timer"] = self._timer.state()
        return tensors, rest

    def load_state(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        weights, averaged, optimizer_state = {}, {}, dict[int, dict[str, Tensor]]()
        for name, tensor in tensors.items():
            kind, _, key = name.partition("/")
            if kind == "model":
                weights[key] = tensor
            elif kind == "average":
                averaged[key] = tensor
            else:
                index, _, key = key.partition("/")
                optimizer_state.setdefault(int(index), {})[key] = tensor
        self.model.load_state_dict(weights)
        if self._average:
            self._average.model.load_state_dict(averaged)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": optimizer_state, "param_groups": groups})
        for parameter, values in self._optimizer.state.items():
            # A file forgets the order of memory, and fused kernels walk a parameter and its moments side by side.
            for key, value in values.items():
                if value.shape == parameter.shape:
                    values[key] = torch.empty_like(parameter).copy_(value)
        self._num_epochs_done = rest["num_epochs_done"]
        self._num_steps_done = rest["num_steps_done"]
        self._loss_sum = rest["loss_sum"]
        self._num_correct = rest["num_correct"]
        self._num_images = rest["num_images"]
        self._stopping.best_loss = rest["best_loss"]
        self._stopping.num_bad = rest["num_bad"]
        self.history = [EpochRecord(**record) for record in rest["history"]]
        if self._timer:
            self._last_moment = rest["last_moment"]
            self._is_over = rest["is_over"]
            self._timer.load_state(rest["timer"])

    def _train_epoch(self) -> Iterator[StepRecord]:
        seed, epoch = self._config.seed, self._num_epochs_done
        images, labels = self._train
        order = torch.from_numpy(generator(seed, "shuffle", epoch).permutation(len(labels)))
        batches = _batches(order.to(images.device), self._batch_size)
        augmentation = Augmentation.draw(self._config.augment, len(labels), seed, epoch)
        self.model.train()
        timer = self._timer
        for step in range(self._num_steps_done, len(batches)):
            if timer and timer.is_up and (self._num_trained_since_record or self.history):
                return
            start = timer.clock() if timer else 0.0
            indices = batches[step]
            moment = timer.progress * self._config.training.epochs if timer else epoch + step / len(batches)
            self._set_lr(moment)
            done = moment / self._config.training.epochs
            size = size_at(self._config.training.low_resolution, done, *images.shape[2:])
            models.advance(self.model, done)
            pixels = shrink(augmentation(images[indices], indices), *size)
            drawn_from = derive(seed, "step", epoch, step)
            loss, num_correct = self._step(self._preprocessing(pixels), labels[indices], drawn_from)
            self._unread.append((loss, num_correct, len(indices)))
            self._num_steps_done, self._last_moment = step + 1, moment
            if self._average:
                self._average.update(self.model, epoch * len(batches) + step + 1)
            if len(self._unread) >= _STEPS_BETWEEN_READS:
                self._read_losses()
            if timer:
                timer.note_step(timer.clock() - start, size == images.shape[2:])
            yield StepRecord(epoch + 1, step + 1, len(batches), len(indices), timer.left if timer else None)

    def _finish_epoch(self) -> EpochRecord:
        self._read_losses()
        if self._average:
            self._average.take_statistics(self.model)
        self._measure_batch_norm()
        images, labels = self._validation
        logits = forward.logits(self.validated_model, images, self._preprocessing, self._settings)
        num_correct = int((logits.argmax(1) == labels).sum())
        # In double precision, so that the sum does not depend on how it is split.
        loss = float(F.cross_entropy(logits.cpu().double(), labels.cpu()))
        if not math.isfinite(loss):
            raise DivergedError(
                f"the validation loss became {loss} in epoch {self._num_epochs_done + 1}; {self._hint()}"
            )
        record = EpochRecord(
            epoch=self._num_epochs_done + 1,
            lr=self._lr(self._moment_of_last_step()),
            train_loss=self._loss_sum / self._num_images,
            train_accuracy=self._num_correct / self._num_images,
            validation_loss=loss,
            validation_accuracy=num_correct / len(labels),
            num_validation_correct=num_correct,
            is_best=self._stopping.step(loss) or self._config.training.keep == "last",
        )
        self.history.append(record)
        self._num_correct = self._num_images = 0
        self._loss_sum = 0.0
        self._is_over = self._timer is not None and self._timer.is_up
        self._begin_next_epoch()
        return record

    def _begin_next_epoch(self) -> None:
        self._num_epochs_done += 1
        self._num_steps_done = 0

    def _moment_of_last_step(self) -> float:
        return self._last_moment if self._timer else self._num_epochs_done + 1 - 1 / self._num_steps_done

    def _measure_batch_norm(self) -> None:
        num_images = min(self._config.training.batch_norm_images, len(self._train[1]))
        if num_images < 2:
            return
        stream = generator(self._config.seed, "batch norm", self._num_epochs_done)
        chosen = torch.from_numpy(stream.choice(len(self._train[1]), num_images, replace=False))
        images = self._train[0][chosen.to(self._train[0].device)]
        forward.measure_batch_norm(self.validated_model, images, self._preprocessing, self._settings)

    def _set_lr(self, epoch: float) -> None:
        for group in self._optimizer.param_groups:
            lr = self._lr(epoch) * group.get("lr_factor", 1.0)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)  # a recorded step knows where it is
            else:
                group["lr"] = lr

    def _lr(self, epoch: float) -> float:
        config = self._config
        return config.optimizer.lr * lr_factor(config.optimizer, epoch, config.training.epochs)

    def _read_losses(self) -> None:
        """Add what the device has ready to the sums, step by step, so that the order of additions is fixed."""
        if self._unread:
            losses, nums_correct, nums_images = zip(*self._unread, strict=True)
            self._unread.clear()
            read = torch.stack(losses).tolist(), torch.stack(nums_correct).tolist(), nums_images
            for loss, num_correct, num_images in zip(*read, strict=True):
                self._loss_sum += loss * num_images
                self._num_correct += num_correct
                self._num_images += num_images
        if not math.isfinite(self._loss_sum):
            raise DivergedError(
                f"the training loss became {self._loss_sum} in epoch {self._num_epochs_done + 1}, "
                f"by step {self._num_steps_done}; {self._hint()}"
            )

    def _hint(self) -> str:
        best = max((record.epoch for record in self.history if record.is_best), default=None)
        kept = f"the weights of epoch {best} are kept" if best else "there are no weights yet"
        return f"lower optimizer.lr (now {self._config.optimizer.lr}) or set optimizer.clip_norm=1; {kept}"


def _on_device(split: Split, settings: Settings) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.require(split.images, requirements=["C", "W"])).to(settings.device)
    return images, torch.from_numpy(split.labels.astype(np.int64)).to(settings.device)


def _batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Cut an order into batches; a last one of a single image joins its neighbour, since batch norm needs two."""
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches
