"""Layers that torch lacks: a faster dropout, TensorFlow's padding, and filters computed from the images."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16
_CHUNK_IMAGES = 64  # whose patches are in memory at once; of more than 64x64 pixels fewer
# Least variance of a direction, so that noise is not blown up to the size of everything else; for images of unit
# variance. The value is that of Keller Jordan's airbench (2024, arXiv 2404.00498).
_LEAST_VARIANCE = 5e-4


def as_autocast(x: Tensor) -> Tensor:
    """Return values in the dtype in which autocast, where it is on, computes convolutions."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class Dropout(nn.Module):
    """Dropout that draws its mask from 16 random bits per value on a CPU, where torch's own takes ten times as long.

    Identity in evaluation. On other devices it is `torch.nn.functional.dropout`. The random numbers come from torch's
    default generator (one draw seeds a numpy SFC64 stream), so `torch.manual_seed` decides the mask.

    Args:
        p: probability that a value becomes zero, 0 <= p < 1; on a CPU it is rounded to a multiple of 1/65536, and
            what stays is scaled by the reciprocal of exactly the probability in use.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability must be at least 0 and below 1, not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with values dropped: same shape, dtype and memory order."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return _MaskAndScale.apply(x, self.p)  # type: ignore[no-any-return, no-untyped-call]

    def extra_repr(self) -> str:
        """Return what `print(model)` shows."""
        return f"p={self.p}"


class _MaskAndScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, p: float) -> Tensor:
        num_dropped_levels = min(round(p * _LEVELS), _LEVELS - 1)
        stream = np.random.SFC64(int(torch.randint(1 << 62, ())))
        bits = np.atleast_1d(stream.random_raw(-(-x.numel() // 4))).view(np.int16)[: x.numel()]
        keep = torch.from_numpy(bits) >= num_dropped_levels - _LEVELS // 2
        # The mask lies in memory as x does, or every product would walk two orders at once.
        keep = torch.as_strided(keep, x.shape, x.stride()) if _is_dense(x) else keep.view(x.shape)
        scale = _LEVELS / (_LEVELS - num_dropped_levels)
        ctx.save_for_backward(keep)
        ctx.scale = scale  # type: ignore[attr-defined]
        return (x * keep).mul_(scale)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return (grad_outputs[0] * keep).mul_(ctx.scale), None  # type: ignore[attr-defined]


def _is_dense(x: Tensor) -> bool:
    """Whether the strides of `x` are those of a whole block of memory, in some order of the axes."""
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(x.stride(), x.shape, strict=True) if n > 1):
        if stride != expected:
            return False
        expected *= size
    return True


class PaddedConv(nn.Conv2d):
    """A convolution that pads as TensorFlow does: of an odd number of rows or columns, more at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (num_images, channels, height, width) to a side of ceil(side / stride)."""
        return super().forward(self.padded(x))

    def padded(self, x: Tensor) -> Tensor:
        """Return the images with their margins."""
        margins: list[int] = []
        for side, kernel_size, stride in zip((-1, -2), self.kernel_size, self.stride, strict=True):
            length = x.shape[side]
            total = max(0, (math.ceil(length / stride) - 1) * stride + kernel_size - length)
            margins += [total // 2, total - total // 2]
        return F.pad(x, margins)


class Whitening(nn.Conv2d):
    """A convolution onto the principal directions of image patches, each scaled to unit variance, and their negatives.

    Its filters are frozen and its bias learns. Until `fit` has seen images the filters are random.

    Neighbouring pixels are nearly equal, so that the first layer of a network learns slowly; filters that take the
    correlation away from the start save it that (Page, 2019, "How to Train Your ResNet"; with the negatives: Jordan,
    2024, arXiv 2404.00498, section 3.2).

    Args:
        channels: of the images.
        kernel_size: side of a patch in pixels.
    """

    bias: nn.Parameter

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, 2 * channels * kernel_size**2, kernel_size)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Compute the filters.

        Args:
            images: float32 (num_images, channels, height, width), normalised as in training.
        """
        size, (height, width) = self.weight[0].numel(), self.kernel_size
        moments, num_patches = torch.zeros(size, size, dtype=torch.float64), 0
        most = _CHUNK_IMAGES * 64 * 64 // images[0, 0].numel()
        for chunk in torch.split(images, max(1, min(_CHUNK_IMAGES, most))):
            # What F.unfold returns, in a third of its time.
            windows = chunk.unfold(2, height, 1).unfold(3, width, 1).permute(1, 4, 5, 0, 2, 3)
            patches = windows.flatten(0, 2).flatten(1).double().cpu()
            moments += patches @ patches.T
            num_patches += patches.shape[1]
        variances, directions = torch.linalg.eigh(moments / num_patches)
        filters = (directions / (variances + _LEAST_VARIANCE).sqrt()).T.flip(0)  # the largest variance first
        self.weight.copy_(torch.cat([filters, -filters]).view_as(self.weight))
