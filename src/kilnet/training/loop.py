"""The training loop: an iterator of records that prints nothing, saves nothing and can be left at any record."""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet import models
from kilnet.config import RunConfig
from kilnet.data.augment import Augmentation
from kilnet.data.dataset import ImageDataset
from kilnet.data.mixing import mixed, mixes
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import DivergedError
from kilnet.hardware import Settings
from kilnet.inference import forward
from kilnet.models.weight_gradient import use_products
from kilnet.seeding import derive, generator
from kilnet.training.balance import balanced_order
from kilnet.training.device_split import DeviceSplit
from kilnet.training.first_stage import FirstStage, gain_of_tuning
from kilnet.training.kept_weights import KeptWeights
from kilnet.training.optim import by_depth, freeze, lr_factor, make_optimizer, set_lr
from kilnet.training.ranks import ALONE, Ranks
from kilnet.training.records import EarlyRecord, EpochRecord, Record, StepRecord
from kilnet.training.resolution import shrink, size_at
from kilnet.training.schedule import EarlyStopping, Schedule
from kilnet.training.step import is_recorded, make_step
from kilnet.training.validation import validation_numbers

# Losses stay on the device for so many steps: reading each would make a GPU wait for the CPU.
_STEPS_BETWEEN_READS = 50
_NOTHING_READ: dict[str, float] = {"loss_sum": 0.0, "num_correct": 0, "num_images": 0}


class TrainingLoop:
    """Trains a network: iterate to get one `StepRecord` per step and one `EpochRecord` per validation.

    Validating within the first epoch too, for an `EarlyRecord`, changes nothing of what follows.

    The order of the images, their augmentation and the dropout masks depend on the seed, the epoch and the step
    alone, so that a loop whose state is loaded continues as if it had never stopped: on a CPU, to the same bytes.

    Args:
        model: a network on any device, in any mode.
        dataset: its train and validation splits are used.
        config, preprocessing, settings: of the run.
        schedule: how far the run is and when it is over; by default it has the configuration's epochs.
        answers: of a teacher, softened probabilities of the training images, float32 (num_images, num_classes).
        ranks: the processes that train this network together, each in a loop of its own that has the same state.
        early: a part of the first epoch after which to validate too; None for none.

    Attributes:
        model: the network that trains.
        history: the epochs so far.
        notes: what the user should be told, one line each; whoever shows a line removes it.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: ImageDataset,
        config: RunConfig,
        preprocessing: Preprocessing,
        settings: Settings,
        schedule: Schedule | None = None,
        answers: Tensor | None = None,
        ranks: Ranks = ALONE,
        early: float | None = None,
    ) -> None:
        settings.apply()
        self.model = settings.place(model)
        if settings.weight_gradient == "product":
            use_products(self.model)
        freeze(self.model, config.training.frozen)
        self.history: list[EpochRecord] = []
        self.notes: list[str] = []
        self._config = config
        self._preprocessing = preprocessing
        self._settings = settings
        self._ranks = ranks
        self._early = early
        self._schedule = schedule or Schedule(config.training.epochs)
        self._train = DeviceSplit(dataset.train, settings)
        self._validation = DeviceSplit(dataset.validation, settings)
        self._num_classes = len(dataset.classes)
        self._answers = None if answers is None else answers.to(settings.device)
        self._batch_size = config.training.batch_size_for(len(dataset.train))
        part_of_batch = self._batch_size / config.training.batch_size
        rates_on = settings.device if is_recorded(config, settings, ranks) else None
        self._optimizer = make_optimizer(
            config.optimizer,
            by_depth(self.model, config.optimizer.layer_decay),
            part_of_batch,
            rates_on,
            ranks,
        )
        num_images = np.bincount(dataset.train.labels, minlength=self._num_classes)
        self._step = make_step(self.model, self._optimizer, config, settings, self.notes, num_images, ranks)
        num_averaged = config.training.averaging_epochs * (len(dataset.train) / self._batch_size)
        self._kept = KeptWeights(self.model, num_averaged, config.training.initial_epochs)
        self._num_steps = 1  # of the present epoch, once it has begun
        self._stopping = EarlyStopping(config.training.patience, config.training.min_delta)
        # Which validation images a network with a fitted last layer has right, and the best one so far.
        self._rights: dict[str, Tensor] = {}
        # Of training since the last record: of each step the mean loss and the number of correct answers, both () on
        # the device, and how many images; once they are read, the sums over images.
        self._unread: list[tuple[Tensor, Tensor, int]] = []
        self._sums = _NOTHING_READ.copy()

    @property
    def validated_model(self) -> nn.Module:
        """The network that is validated, and worth keeping; see `KeptWeights`."""
        return self._kept.model

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the time is up, or patience is spent, or only the last layer may change."""
        is_fitted = bool(self.history) and self._config.training.frozen == "features"
        return is_fitted or self._schedule.is_over or self._stopping.should_stop

    @property
    def stopped_early(self) -> bool:
        """Whether patience was spent before the end."""
        return self._stopping.should_stop and not self._schedule.is_over

    def __iter__(self) -> Iterator[Record]:
        schedule = self._schedule
        while not self.finished:
            yield from self._train_epoch()
            has_trained = bool(self._unread or self._sums["num_images"])  # since the last record
            if has_trained and schedule.validation_is_due:
                with schedule.validation():  # the caller saves the weights within it
                    self._read_losses()
                    self._take_statistics()
                    epoch = schedule.num_epochs_done + 1
                    record = self._validate(epoch, self._lr(schedule.last_fractional_epoch))
                    schedule.end_epoch(is_validated=True)
                    if self.finished and self._rights:
                        self.notes.append(gain_of_tuning(self.history, self._rights))
                    yield record
                    self._ranks.tick()
            else:
                schedule.end_epoch(is_validated=not has_trained)

    def start(self, first: FirstStage) -> EpochRecord:
        """Count a network that has the first stage's last layer as epoch 0."""
        fitted = first.fitted
        self._kept.begin()
        self._sums = {
            "loss_sum": fitted.loss_sum,
            "num_correct": fitted.num_correct,
            "num_images": fitted.num_images,
        }
        self._schedule.has_result = True
        return self._validated(0, 0.0, first.logits.to(self._settings.device))

    def _train_epoch(self) -> Iterator[StepRecord | EarlyRecord]:
        schedule, epoch, seed = self._schedule, self._schedule.num_epochs_done, self._config.seed
        order = self._order(epoch).to(self._train.labels.device)
        batches = _batches(order, self._batch_size, max(2, self._ranks.size))
        self._num_steps = len(batches)
        augmentation = Augmentation.draw(self._config.augment, len(self._train), seed, epoch)
        self.model.train()
        if self._config.training.frozen != "nothing":
            forward.freeze_batch_norm(self.model)
        for step in range(schedule.num_steps_done, len(batches)):
            self._ranks.tick()
            if schedule.is_at_end:
                return
            if self._early is not None and epoch == 0 and step / len(batches) >= self._early:
                self._take_statistics()
                yield self._validate_early(self._early)
                self._early = None
            schedule.begin_step(len(batches))
            for following in batches[step + 1 : step + 2]:
                self._train.expect(following)
            is_full_size = self._train_batch(
                batches[step], augmentation, self._draws(batches, step), derive(seed, "step", epoch, step)
            )
            self._kept.update(epoch * len(batches) + step + 1)
            if len(self._unread) >= _STEPS_BETWEEN_READS:
                self._read_losses()
            self._ranks.tick()
            schedule.note_step(is_full_size)
            yield StepRecord(
                epoch=epoch + 1,
                step=step + 1,
                num_steps=len(batches),
                num_images=len(batches[step]),
                seconds_left=schedule.seconds_left,
            )

    def _order(self, epoch: int) -> Tensor:
        """Return the images of an epoch, int64 (num_images,), in the order in which they are trained on."""
        stream = generator(self._config.seed, "shuffle", epoch)
        if self._config.training.balance == "sampling":
            return torch.from_numpy(balanced_order(self._train.labels.cpu().numpy(), stream))
        return torch.from_numpy(stream.permutation(len(self._train)))

    def _draws(self, batches: list[Tensor], step: int) -> Tensor:
        """Return which random changes the images of a batch get: an image that comes twice is not twice the same."""
        if self._config.training.balance != "sampling":
            return batches[step]
        first = sum(map(len, batches[:step]))
        return torch.arange(first, first + len(batches[step]), device=batches[step].device)

    def _train_batch(self, batch: Tensor, augmentation: Augmentation, draws: Tensor, seed: int) -> bool:
        """Take a step; return whether the images had their full size."""
        ranks, is_mixed = self._ranks, mixes(self._config.augment)
        # Mixed images need each other: each process then changes the whole batch, and takes its part of that.
        indices, draws = (batch, draws) if is_mixed else (ranks.part(batch), ranks.part(draws))
        schedule, full_size = self._schedule, self._train.images.shape[2:]
        set_lr(self._optimizer, self._lr(schedule.fractional_epoch))
        models.advance(self.model, schedule.progress)
        size = size_at(self._config.training.low_resolution, schedule.progress, *full_size)
        pixels = shrink(augmentation(self._train.take(indices), draws), *size)
        targets, weights = self._targets(indices), self._train.weights
        weights = None if weights is None else weights[indices]
        if is_mixed:
            pixels, targets = map(ranks.part, mixed(pixels, targets, self._config.augment, seed))
            weights = None if weights is None else ranks.part(weights)
        loss, num_correct = self._step(self._preprocessing(pixels), targets, seed + ranks.rank, weights)
        self._unread.append((loss, num_correct, len(batch)))
        return size == full_size

    def _targets(self, indices: Tensor) -> Tensor:
        """Return what a step asks for: labels; or shares of classes, and a teacher's answers beside them."""
        labels = self._train.labels[indices]
        if self._answers is None and not mixes(self._config.augment):
            return labels
        shares = F.one_hot(labels, self._num_classes).float()
        return shares if self._answers is None else torch.cat([shares, self._answers[indices]], 1)

    def _validate(self, epoch: int, lr: float) -> EpochRecord:
        return self._validated(epoch, lr, self._validation_logits())

    def _validate_early(self, epoch: float) -> EarlyRecord:
        return EarlyRecord(epoch, **self._measured(1, self._validation_logits()))

    def _validation_logits(self) -> Tensor:
        return self._ranks.divided(
            lambda part: forward.logits(self.validated_model, part, self._preprocessing, self._settings),
            self._validation.images,
        )

    def _measured(self, epoch: int, logits: Tensor) -> dict[str, Any]:
        """Return the numbers on validation that a record has."""
        select = self._config.training.select
        measured = validation_numbers(logits, self._validation.labels, self._num_classes, select)
        if not math.isfinite(loss := measured["validation_loss"]):
            raise DivergedError(f"the validation loss became {loss} in epoch {epoch}; {self._advice()}")
        return measured

    def _validated(self, epoch: int, lr: float, logits: Tensor) -> EpochRecord:
        right = logits.argmax(1) == self._validation.labels
        measured = self._measured(epoch, logits)
        sums, self._sums = self._sums, _NOTHING_READ.copy()
        record = EpochRecord(
            epoch=epoch,
            lr=lr,
            train_loss=sums["loss_sum"] / sums["num_images"],
            train_accuracy=sums["num_correct"] / sums["num_images"],
            is_best=self._config.training.keep == "last",
            **measured,
        )
        if epoch == 0:
            self._rights["first"] = right.to("cpu", torch.uint8)
        if self._stopping.step(record.watched(self._config.training.select)):
            record = replace(record, is_best=True)
        if self._rights and record.is_best:
            self._rights["best"] = right.to("cpu", torch.uint8)
        self.history.append(record)
        return record

    def _take_statistics(self) -> None:
        """Bring the network that is validated up to date, batch norm's statistics too."""
        schedule, num_train = self._schedule, len(self._train)
        self._kept.settle(schedule.num_epochs_done + schedule.num_steps_done / self._num_steps)
        num_images = min(self._config.training.batch_norm_images, num_train)
        if num_images < 2 or self._config.training.frozen != "nothing":
            return
        stream = generator(self._config.seed, "batch norm", schedule.num_epochs_done)
        chosen = torch.from_numpy(stream.choice(num_train, num_images, replace=False))
        images = self._train.take(chosen.to(self._train.labels.device))
        forward.measure_batch_norm(self.validated_model, images, self._preprocessing, self._settings)

    def _lr(self, fractional_epoch: float) -> float:
        config = self._config
        return config.optimizer.lr * lr_factor(config.optimizer, fractional_epoch, config.training.epochs)

    def _read_losses(self) -> None:
        """Add what the device has to the sums, step by step, so that the order of additions is fixed."""
        if self._unread:
            losses, nums_correct, nums_images = zip(*self._unread, strict=True)
            self._unread.clear()
            read = torch.stack(losses).tolist(), torch.stack(nums_correct).tolist(), nums_images
            for loss, num_correct, num_images in zip(*read, strict=True):
                self._sums["loss_sum"] += loss * num_images
                self._sums["num_correct"] += num_correct
                self._sums["num_images"] += num_images
        if not math.isfinite(self._sums["loss_sum"]):
            raise DivergedError(
                f"the training loss became {self._sums['loss_sum']} in epoch {self._schedule.num_epochs_done + 1}, "
                f"by step {self._schedule.num_steps_done}; {self._advice()}"
            )

    def _advice(self) -> str:
        best = max((record.epoch for record in self.history if record.is_best), default=None)
        kept = f"the weights of epoch {best} are kept" if best else "there are no weights yet"
        return f"lower optimizer.lr (now {self._config.optimizer.lr}) or set optimizer.clip_norm=1; {kept}"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that is needed to resume: tensors by name, such as "optimizer/0/step", and JSON-able values.

        Raises:
            DivergedError: the loss is not finite; such a state is not worth keeping.
        """
        self._read_losses()
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= self._kept.state()
        for index, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in moments.items()}
        tensors |= {f"right/{name}": tensor for name, tensor in self._rights.items()}
        return tensors, {
            **self._schedule.state(),
            **self._sums,
            "best_loss": self._stopping.best_loss,
            "num_bad": self._stopping.num_bad,
            "history": [record.to_dict() for record in self.history],
        }

    def load_state(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        parts = _by_first_word(tensors)
        self.model.load_state_dict(parts["model"])
        self._kept.load_state(parts)
        _load_moments(self._optimizer, parts["optimizer"])
        self._rights = dict(parts["right"])
        self._schedule.load_state(rest)
        self._unread.clear()
        self._sums = {name: rest[name] for name in _NOTHING_READ}
        self._stopping.best_loss = rest["best_loss"]
        self._stopping.num_bad = rest["num_bad"]
        counted = {"num_validation": len(self._validation)}  # which earlier versions did not write
        self.history = [EpochRecord(**(counted | record)) for record in rest["history"]]
        self._schedule.has_result = bool(self.history)


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state = {int(index): moments for index, moments in _by_first_word(tensors).items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, moments in optimizer.state.items():
        # A file forgets the order of memory, and fused kernels walk a parameter and its moments side by side.
        for name, moment in moments.items():
            if moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(moment)


def _by_first_word(tensors: dict[str, Tensor]) -> defaultdict[str, dict[str, Tensor]]:
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for path, tensor in tensors.items():
        word, _, name = path.partition("/")
        parts[word][name] = tensor
    return parts


def _batches(order: Tensor, batch_size: int, least: int) -> list[Tensor]:
    """Cut an order into batches; a last one of too few images joins its neighbour.

    Batch norm needs two, and each of several processes one.
    """
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
