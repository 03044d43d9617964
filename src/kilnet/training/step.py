"""One step of training: plain, or recorded and played back by a GPU."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kilnet.config import RunConfig, is_foreign
from kilnet.hardware import Settings
from kilnet.metrics.class_counts import Counts
from kilnet.training.balance import TrainingLoss
from kilnet.training.ranks import ALONE, Ranks

# Steps of one kind before one is recorded: the optimiser has its moments by then, and libraries have chosen kernels.
_STEPS_BEFORE_RECORDING = 3
# How far apart a recorded and a plain step may leave the weights, as a part of how far they move. Sums in another
# order and bf16 make a few hundredths; a step that leaves something out, 1.
_LARGEST_DIFFERENCE = 0.25

Play = Callable[[], tuple[Tensor, Tensor]]
Record = Callable[[Play], Play]


class TrainStep:
    """Forward pass, backward pass and optimiser, for a network on the settings' device.

    Args:
        model, optimizer, config, settings: of the run.
        num_images: int64 (num_classes,), training images of each class, for `training.balance`.
        ranks: the processes that share a batch, each with a part of it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: RunConfig,
        settings: Settings,
        num_images: Counts | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.settings = settings
        self._config = config
        self._ranks = ranks
        self._loss = TrainingLoss(config.training, num_images, settings.device)

    def __call__(
        self, images: Tensor, labels: Tensor, seed: int, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch.

        Args:
            images: float32 (num_images, channels, height, width), normalised.
            labels: int64 (num_images,); or float32 (num_images, num_classes), the share of each class in a mixed image;
                or twice as wide, with a teacher's answers behind.
            seed: of whatever the network draws.
            weights: float32 (num_images,), how much each image counts; 1 on average over the training images.

        Returns:
            The mean loss and the number of correct answers, both () on the device.
        """
        self.settings.seed(seed)
        return self.run(self.settings.place_images(images), labels, weights)

    def run(self, images: Tensor, labels: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Do what `__call__` does to images that are in place, without waiting for the device and without a seed."""
        with self.settings.autocast(), self._ranks.batch_norm():
            logits = self.model(images)
        logits = logits.float()
        loss = self._loss(logits, labels, weights)
        truth = labels if labels.dim() == 1 else labels[:, : logits.shape[1]].argmax(1)
        num_correct = (logits.detach().argmax(1) == truth).sum()
        self.optimizer.zero_grad(set_to_none=True)
        if self._ranks.size > 1:
            loss, num_correct = self._add_gradients(loss, num_correct, len(images))
        else:
            loss.backward()  # type: ignore[no-untyped-call]
        if self._config.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._config.optimizer.clip_norm)
        self.optimizer.step()
        return loss.detach(), num_correct

    def _add_gradients(self, loss: Tensor, num_correct: Tensor, num_images: int) -> tuple[Tensor, Tensor]:
        """Let all processes have the gradient, the mean loss and the right answers of the whole batch."""
        total = loss * num_images
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        sums = torch.stack([total.detach(), num_correct.float(), torch.full_like(total, num_images)])
        self._ranks.add([*gradients, sums])
        torch._foreach_div_(gradients, sums[2])
        return sums[0] / sums[2], sums[1].long()


class RecordedStep:
    """A `TrainStep` whose hundreds of kernels a GPU plays back by itself: launching one takes longer than running it.

    A recording holds the addresses of its tensors and the values of all numbers. So there is one for each shape of the
    batch and each set of parameters that learn, and learning rates are tensors. When it is first played, it is
    compared with a plain step from the same weights. Whatever fails, in recording, playing or this comparison: the
    weights are put back, this step and all that follow are plain, and a note tells the user.

    Args:
        step: what is recorded.
        record: turns a function without arguments into one that plays its kernels again, writing the same results.
        notes: gets one line when recording is given up.

    Attributes:
        is_trusted: False once recording is given up.
    """

    def __init__(self, step: TrainStep, record: Record, notes: list[str]) -> None:
        self.is_trusted = True
        self._step = step
        self._record = record
        self._notes = notes
        self._num_seen: Counter[Any] = Counter()
        self._recordings: dict[Any, tuple[Tensor, Tensor, Play]] = {}
        self._compared: set[Any] = set()
        self._state: list[Tensor] = []  # all that a step changes, parameters first
        self._before: list[Tensor] = []  # what it was before this step

    def __call__(
        self, images: Tensor, labels: Tensor, seed: int, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch; see `TrainStep`. With weights, steps are plain."""
        if weights is not None:
            return self._step(images, labels, seed, weights)
        kind = images.shape, tuple(parameter.requires_grad for parameter in self._step.model.parameters())
        self._num_seen[kind] += 1
        if not self.is_trusted or self._num_seen[kind] <= _STEPS_BEFORE_RECORDING:
            return self._step(images, labels, seed)
        has_copies = False
        try:
            self._keep_state(kind)
            has_copies = True
            result = self._played(kind, images, labels, seed)
        except Exception as error:  # a network, a library or a driver may raise anything
            if has_copies:
                _copy(self._before, self._state)
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            self._give_up(f"{type(error).__name__}: {reason}")
            return self._step(images, labels, seed)
        return result if kind in self._compared else self._compare(kind, result[0], images, labels, seed)

    def _keep_state(self, kind: Any) -> None:
        if kind not in self._recordings:  # what the optimiser keeps for this kind is there by now
            model = self._step.model
            self._state = [*model.parameters(), *model.buffers(), *_tensors(self._step.optimizer)]
            self._before = [torch.empty_like(tensor) for tensor in self._state]
        _copy(self._state, self._before)

    def _played(self, kind: Any, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        if kind not in self._recordings:
            own_images, own_labels = self._step.settings.place_images(images).clone(), labels.clone()
            play = self._record(lambda: self._step.run(own_images, own_labels))
            self._recordings[kind] = own_images, own_labels, play
        own_images, own_labels, play = self._recordings[kind]
        own_images.copy_(images)
        own_labels.copy_(labels)
        self._step.settings.seed(seed)
        loss, num_correct = play()
        return loss.clone(), num_correct.clone()

    def _compare(
        self, kind: Any, loss: Tensor, images: Tensor, labels: Tensor, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Put the weights back and take the plain step, which counts; give up if the one played went elsewhere."""
        parameters = list(self._step.model.parameters())
        played = [parameter.detach().clone() for parameter in parameters]
        _copy(self._before, self._state)
        result = self._step(images, labels, seed)
        moved = _distance(parameters, self._before[: len(parameters)])
        if not (loss.isfinite() and _distance(parameters, played) <= _LARGEST_DIFFERENCE * moved):
            self._give_up("played back, it gave another result than the plain one")
        elif moved > 0:
            self._compared.add(kind)
        return result

    def _give_up(self, reason: str) -> None:
        self.is_trusted = False
        self._recordings.clear()
        self._state, self._before = [], []
        self._notes.append(f"training continues with plain steps, since a recorded step failed: {reason}")


def make_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    settings: Settings,
    notes: list[str],
    num_images: Counts | None = None,
    ranks: Ranks = ALONE,
) -> TrainStep | RecordedStep:
    """Return a step, recorded if `is_recorded`; the optimiser's learning rates are then tensors."""
    step = TrainStep(model, optimizer, config, settings, num_images, ranks)
    if is_recorded(config, settings, ranks):
        return RecordedStep(step, CudaRecorder(settings.device), notes)
    return step


def is_recorded(config: RunConfig, settings: Settings, ranks: Ranks = ALONE) -> bool:
    """Whether a run's steps are recorded: where the device can play them back, and one process trains alone.

    A network of the user's own may decide in Python, at each step, what it computes: it is never recorded.
    """
    return settings.records_steps and not is_foreign(config.model.name) and ranks.size == 1


class CudaRecorder:
    """Records kernels as CUDA graphs, all in one pool of memory, since only one is played at a time."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, function: Play) -> Play:
        """Record a function; its results are overwritten whenever it is played."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            results = function()

        def play() -> tuple[Tensor, Tensor]:
            graph.replay()
            return results

        return play


def _tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    values = (value for state in optimizer.state.values() for value in state.values())
    return [value for value in values if isinstance(value, Tensor)]


@torch.no_grad()
def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    # One kernel copies many tensors where all have one dtype; a few counts among them would mean a kernel for each.
    for dtype in {tensor.dtype for tensor in source}:
        pairs = [(a, b) for a, b in zip(source, target, strict=True) if a.dtype == dtype]
        torch._foreach_copy_([b for _, b in pairs], [a for a, _ in pairs])


def _distance(some: list[nn.Parameter], others: list[Tensor]) -> float:
    pairs = zip(some, others, strict=True)
    return float(torch.stack([(a.detach() - b).double().square().sum() for a, b in pairs]).sum().sqrt())
