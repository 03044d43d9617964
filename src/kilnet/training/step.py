"""One step of training, as torch runs it or as a recording of it that a GPU plays back."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.config import RunConfig
from kilnet.hardware import Settings

# Steps of one kind before one is recorded: the optimiser has its moments then, and libraries have chosen their kernels.
_STEPS_BEFORE_RECORDING = 3
# Between the ways that a recorded and a usual step move the weights, as a part of the way. Sums in another order and
# bf16 make a few hundredths; a step that leaves something out, 1.
_LARGEST_DIFFERENCE = 0.25

Play = Callable[[], tuple[Tensor, Tensor]]
Record = Callable[[Play], Play]


class TrainStep:
    """Forward pass, backward pass and optimiser.

    Args:
        model: network on the settings' device.
        optimizer: of its parameters.
        config: label smoothing and the limit of the gradient's norm.
        settings: device, precision and layout.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig, settings: Settings
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.settings = settings
        self._label_smoothing = config.training.label_smoothing
        self._clip_norm = config.optimizer.clip_norm

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Train on a batch.

        Args:
            images: float32 (num_images, channels, height, width), normalised.
            labels: int64 (num_images,).
            seed: of whatever the network draws.

        Returns:
            The mean loss and the number of right answers, both () on the device.
        """
        torch.manual_seed(seed)
        return self.run(self.settings.place_images(images), labels)

    def run(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Do what `__call__` does to images that are in place, without waiting for the device and without a seed."""
        with self.settings.autocast():
            logits = self.model(images)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self._label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm)
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()


class RecordedStep:
    """A `TrainStep` whose hundreds of kernels a GPU plays back by itself: to launch each takes longer than it runs.

    A recording knows the addresses of its tensors and the values of all numbers, so that there is one for each shape of
    the batch and each choice of parameters that learn, and learning rates are tensors. The first one that is played is
    compared with a usual step from the same weights; if it moves them otherwise, or cannot be recorded, all
    steps stay as they were.

    Args:
        step: what is recorded.
        record: turns a function without arguments into one that plays its kernels again, writing the same results.
    """

    def __init__(self, step: TrainStep, record: Record) -> None:
        self._step = step
        self._record = record
        self._num_seen: Counter[Any] = Counter()
        self._recordings: dict[Any, tuple[Tensor, Tensor, Play]] = {}
        self.is_trusted: bool | None = None  # None until it is known

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Train on a batch; see `TrainStep`."""
        kind = images.shape, tuple(parameter.requires_grad for parameter in self._step.model.parameters())
        self._num_seen[kind] += 1
        if self.is_trusted is False or self._num_seen[kind] <= _STEPS_BEFORE_RECORDING:
            return self._step(images, labels, seed)
        if kind not in self._recordings:
            try:
                self._recordings[kind] = self._recorded(self._step.settings.place_images(images), labels)
            except RuntimeError:  # something in the network waits for the device, or memory is short
                self.is_trusted = False
                return self._step(images, labels, seed)
        if self.is_trusted is None:
            return self._compared(kind, images, labels, seed)
        return self._played(kind, images, labels, seed)

    def _recorded(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Play]:
        images, labels = images.clone(), labels.clone()
        return images, labels, self._record(lambda: self._step.run(images, labels))

    def _played(self, kind: Any, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        own_images, own_labels, play = self._recordings[kind]
        own_images.copy_(images)
        own_labels.copy_(labels)
        torch.manual_seed(seed)
        loss, num_correct = play()
        return loss.clone(), num_correct.clone()

    def _compared(self, kind: Any, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Play a recording, go back, and take the same step as usual, which counts."""
        parameters = list(self._step.model.parameters())
        state = [*parameters, *self._step.model.buffers(), *_tensors(self._step.optimizer)]
        before = [tensor.detach().clone() for tensor in state]
        self._played(kind, images, labels, seed)
        played = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        result = self._step(images, labels, seed)
        moved = _distance(parameters, before[: len(parameters)])
        self.is_trusted = moved > 0 and _distance(parameters, played) <= _LARGEST_DIFFERENCE * moved
        return result


def make_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig, settings: Settings
) -> TrainStep | RecordedStep:
    """Return a step, recorded if `is_recorded`; the optimiser's learning rates are then tensors."""
    step = TrainStep(model, optimizer, config, settings)
    return RecordedStep(step, CudaRecorder(settings.device)) if is_recorded(config, settings) else step


def is_recorded(config: RunConfig, settings: Settings) -> bool:
    """Whether a run's steps are recorded: where the device can play them back.

    A network of the user's own may decide in Python, each step anew, what it computes: it is never recorded.
    """
    return settings.records_steps and ":" not in config.model.name


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


def _distance(some: list[nn.Parameter], others: list[Tensor]) -> float:
    pairs = zip(some, others, strict=True)
    return float(torch.stack([(a.detach() - b).double().square().sum() for a, b in pairs]).sum().sqrt())
