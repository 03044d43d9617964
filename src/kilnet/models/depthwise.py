"""Gradients of depthwise convolutions, one filter for each channel, for which torch has slow kernels on a CPU."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.models.layers import as_autocast

# Side of the largest filters whose gradient oneDNN computes quickly (docs/experiments.md, 2026-11-27).
_TILE = 3
_Pair = tuple[int, ...]  # of rows and columns


def quicker(module: nn.Conv2d) -> Callable[..., Tensor] | None:
    """Return what does as a depthwise layer's `_conv_forward`, with gradients in less time; None for other layers.

    Results are the same up to rounding.
    """
    is_depthwise = module.groups == module.in_channels == module.out_channels > 1
    is_square = module.kernel_size[0] == module.kernel_size[1] >= _TILE and module.dilation == (1, 1)
    if not (is_depthwise and is_square) or isinstance(module.padding, str) or module.padding_mode != "zeros":
        return None
    if max(module.padding) >= module.kernel_size[0]:
        return None
    return partial(_convolved, module.stride, module.padding)


def has_any(model: nn.Module) -> bool:
    """Whether `quicker` has something for a layer of a network."""
    return any(isinstance(module, nn.Conv2d) and quicker(module) for module in model.modules())


def _convolved(
    stride: _Pair, padding: _Pair, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    if not (torch.is_grad_enabled() and isinstance(x, Tensor) and (x.requires_grad or weight.requires_grad)):
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))
    return _Depthwise.apply(as_autocast(x), weight, bias, stride, padding)  # type: ignore[no-any-return, no-untyped-call]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: _Pair, padding: _Pair
    ) -> Tensor:
        own = weight.to(x.dtype)
        ctx.save_for_backward(x, own)
        ctx.stride, ctx.padding, ctx.dtype = stride, padding, weight.dtype
        return F.conv2d(
            x, own, None if bias is None else bias.to(x.dtype), stride, padding, groups=len(weight)
        )

    @staticmethod
    def backward(
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        (gradient,), (x, weight) = grad_outputs, ctx.saved_tensors
        of_input, of_weight, of_bias, *_ = ctx.needs_input_grad
        return (
            _of_input(gradient, x.shape, weight, ctx.stride, ctx.padding) if of_input else None,
            _of_weight(gradient, x, weight, ctx.stride, ctx.padding).to(ctx.dtype) if of_weight else None,
            gradient.sum((0, 2, 3), dtype=ctx.dtype) if of_bias else None,
            None,
            None,
        )


def _of_input(gradient: Tensor, shape: torch.Size, weight: Tensor, stride: _Pair, padding: _Pair) -> Tensor:
    """Return the gradient of inputs of a shape: a convolution of stride 1 with the filters turned round.

    With a larger stride there are zeros between the gradients of the outputs.
    """
    side = weight.shape[2]
    if stride != (1, 1):
        height, width = (shape[2 + i] + 2 * padding[i] - side + 1 for i in range(2))  # with stride 1
        apart = gradient.new_zeros(shape[0], height, width, shape[1]).permute(0, 3, 1, 2)
        apart[:, :, :: stride[0], :: stride[1]] = gradient
        gradient = apart
    margins = [side - 1 - each for each in padding]
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, margins, groups=len(weight))


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: _Pair, padding: _Pair) -> Tensor:
    """Return the gradient of filters; of larger ones in parts of 3x3, which may overlap.

    A part of a filter sees the part of the inputs that lies as far from their corner as it lies from its own.
    """
    side = weight.shape[2]
    if side == _TILE:
        return _of_tile(gradient, x, weight, stride, padding)
    x = F.pad(x, [padding[1], padding[1], padding[0], padding[0]])
    height, width = ((gradient.shape[2 + i] - 1) * stride[i] + _TILE for i in range(2))
    result, tile = torch.empty_like(weight), weight[:, :, :_TILE, :_TILE].contiguous()
    corners = [*range(0, side - _TILE, _TILE), side - _TILE]
    for top in corners:
        for left in corners:
            seen = x[:, :, top : top + height, left : left + width]
            found = _of_tile(gradient, seen, tile, stride, (0, 0))
            result[:, :, top : top + _TILE, left : left + _TILE] = found
    return result


def _of_tile(gradient: Tensor, x: Tensor, weight: Tensor, stride: _Pair, padding: _Pair) -> Tensor:
    wanted = [False, True, False]
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, [1, 1], False, [0, 0], len(weight), wanted
    )
    return found[1]  # type: ignore[no-any-return]
