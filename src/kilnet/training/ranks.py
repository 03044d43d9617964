"""The processes that train one network together, as torchrun starts them."""

import atexit
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from time import monotonic
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from kilnet.errors import LostRankError

# The first process measures the hardware, compares candidates and computes features while the others wait.
_LONGEST_WAIT = timedelta(hours=6)


class Clock:
    """Seconds that never go back; they stand still where `now` says what they are."""

    def __init__(self) -> None:
        self.now: float | None = None

    def __call__(self) -> float:
        return monotonic() if self.now is None else self.now


class Ranks:
    """All processes of a training, each with the same network and images and a part of every batch.

    By itself, `Ranks()`, a process does all alone: every method then returns what it is given.

    Attributes:
        rank: number of this process; 0 is the one that decides and writes.
        size: how many there are.
        clock: shows the same in all processes from the first `tick` on, so that what depends on it is alike.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self.clock = Clock()

    def part(self, items: Tensor) -> Tensor:
        """Return this process's part of some items."""
        return items if self.size == 1 else items.tensor_split(self.size)[self.rank]

    def add(self, tensors: list[Tensor]) -> None:
        """Replace tensors, float32 and on one device, by their sums over all processes, in one message."""
        if self.size == 1 or not tensors:
            return
        message = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _connected():
            distributed.all_reduce(message)
        for tensor, total in zip(tensors, torch.split(message, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def divided(self, function: Callable[[Tensor], Tensor], items: Tensor) -> Tensor:
        """Let each process apply a function to its part of the items, and return the results for all of them.

        Args:
            function: takes some items, (num_some, ...), and returns as many float32 results of one shape.
            items: (num_items, ...), the same in all processes, at least one.
        """
        if self.size == 1:
            return function(items)
        part = self.part(items)
        own = function(part if len(part) else items[:1])  # whoever has none learns the shape of results
        results = own.new_empty((len(items), *own.shape[1:]))
        for rank, place in enumerate(results.tensor_split(self.size)):
            if not len(place):
                break
            if rank == self.rank:
                place.copy_(own)
            with _connected():
                distributed.broadcast(place, rank)
        return results

    def share(self, value: Any) -> Any:
        """Return the first process's value, which can be pickled; the others give None."""
        if self.size == 1:
            return value
        box = [value]
        with _connected():
            distributed.broadcast_object_list(box, 0, device=torch.device("cpu"))
        return box[0]

    def tick(self) -> None:
        """Let the clocks of all processes show what that of the first one shows now."""
        if self.size > 1:
            self.clock.now = self.share(monotonic())

    def batch_norm(self) -> AbstractContextManager[Any]:
        """Return the context in which batch norm in training has the mean and variance of the whole batch."""
        return nullcontext() if self.size == 1 else _SharedBatchNorm(self)


ALONE = Ranks()


def joined() -> Ranks:
    """Return the processes that torchrun has started with this one; `ALONE` where it was started by itself.

    On a machine with GPUs each process takes one of its own.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not distributed.is_torchelastic_launched():
        return ALONE
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        with _connected():
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
        # gloo's thread lets go of the last tensors some time later; once Python has ended, that aborts the process.
        atexit.register(distributed.destroy_process_group)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:  # gloo's and NCCL's are RuntimeErrors
        raise LostRankError(
            "another process of this training has ended; the same command goes on from the state that was saved"
        ) from error


class _SharedBatchNorm(TorchFunctionMode):
    """Within this context, batch norm that would take its statistics from this process's images takes all ranks'.

    Any layer that calls `torch.nn.functional.batch_norm` is meant, Kilnet's or not; torch's own SyncBatchNorm is for
    GPUs alone.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return self._batch_norm(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        func: Any,
        input: Tensor,  # noqa: A002 torch's own names
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return func(input, running_mean, running_var, weight, bias, training, momentum, eps)  # type: ignore[no-any-return]
        result, mean, variance, count = cast("Any", _Standardised).apply(input, eps, self._ranks)
        with torch.no_grad():
            if running_mean is not None:
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            if running_var is not None:  # torch keeps the variance with one image less
                running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
        shape = (1, -1, *[1] * (input.dim() - 2))
        if weight is not None:
            result = result * weight.view(shape)
        shifted: Tensor = result if bias is None else result + bias.view(shape)
        return shifted.to(input.dtype)


class _Standardised(torch.autograd.Function):
    """Images (num_images, channels, ...) minus the mean over all ranks, divided by the standard deviation.

    The gradient is that of Ioffe and Szegedy (2015, arXiv 1502.03167), section 3, with the sums over all ranks' images.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, eps: float, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        over = [0, *range(2, images.dim())]
        values = images.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        total = values.sum(over)
        ranks.add([total, count])
        mean = total / count
        values = values - _along(mean, values)
        squares = values.square().sum(over)
        ranks.add([squares])
        variance = squares / count
        scale = (variance + eps).rsqrt()
        values *= _along(scale, values)
        ctx.save_for_backward(values, scale, count)
        ctx.ranks, ctx.over, ctx.dtype = ranks, over, images.dtype
        ctx.mark_non_differentiable(mean, variance, count)
        return values, mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        values, scale, count = ctx.saved_tensors
        sums = [gradient.sum(ctx.over), (gradient * values).sum(ctx.over)]
        ctx.ranks.add(sums)
        shift, slope = (_along(total / count, values) for total in sums)
        moved = (gradient - shift - values * slope) * _along(scale, values)
        return moved.to(ctx.dtype), None, None


def _along(values: Tensor, images: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (images.dim() - 2))
