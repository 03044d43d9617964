"""The gradients of convolutions in other ways than torch's, where these take less time on a CPU."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.models import depthwise
from kilnet.models.layers import as_autocast

# How many positions an output has at most, for so many pairs of an input and an output channel: where products take
# less time than oneDNN's kernel, measured in bf16 on a processor with AMX (docs/experiments.md, 2026-11-27).
_MOST_POSITIONS = ((256 * 256, 49), (64 * 256, 36), (32 * 96, 16), (0, 9))


def use_products(model: nn.Module) -> None:
    """Let convolutions of a network, where outputs are small, compute the gradient of their filters by products.

    Results are the same up to rounding. It concerns convolutions of stride 1 without a bias, groups or gaps. Depthwise
    ones get the gradients of `kilnet.models.depthwise`.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        name, convolve = "_conv_forward", depthwise.quicker(module)  # torch's own, with a bias
        if _is_plain(module):
            name = "convolve" if hasattr(module, "convolve") else name
            convolve = partial(_convolved, module.padding)
        if convolve:
            setattr(module, name, convolve)


def _is_plain(module: nn.Conv2d) -> bool:
    is_dense = module.stride == module.dilation == (1, 1) and module.groups == 1
    is_padded = not isinstance(module.padding, str) and module.padding_mode == "zeros"
    return is_dense and is_padded and module.bias is None


def _convolved(padding: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    is_learning = torch.is_grad_enabled() and isinstance(x, Tensor) and weight.requires_grad
    if not is_learning or bias is not None:  # a copy for prediction may have got a bias
        return F.conv2d(x, weight, bias, padding=padding)
    height, width = (x.shape[2 + i] + 2 * padding[i] - weight.shape[2 + i] + 1 for i in range(2))
    num_pairs = weight.shape[0] * weight.shape[1]
    if height * width > next(most for least, most in _MOST_POSITIONS if num_pairs >= least):
        return F.conv2d(x, weight, bias, padding=padding)
    return _Convolution.apply(as_autocast(x), weight, padding)  # type: ignore[no-any-return, no-untyped-call]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        own = weight.to(x.dtype)
        ctx.save_for_backward(x, own)
        ctx.padding, ctx.dtype = padding, weight.dtype
        return F.conv2d(x, own, padding=padding)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (gradient,), (x, weight) = grad_outputs, ctx.saved_tensors
        of_input = None
        if ctx.needs_input_grad[0]:
            of_input = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], ctx.padding, [1, 1], False, [0, 0], 1, [True, False, False]
            )[0]
        return of_input, _of_weight(gradient, x, weight.shape, ctx.padding).to(ctx.dtype), None


def _of_weight(gradient: Tensor, x: Tensor, shape: torch.Size, padding: tuple[int, int]) -> Tensor:
    """Return the gradient of filters, of a shape (out, in, rows, columns): one product for each position in a filter.

    Args:
        gradient: of the outputs, (num_images, out, height, width).
        x: the inputs, (num_images, in, height, width), before they are padded.
    """
    height, width = gradient.shape[2:]
    inputs = F.pad(x, [padding[1], padding[1], padding[0], padding[0]]).permute(0, 2, 3, 1)
    outputs = gradient.permute(0, 2, 3, 1).reshape(-1, shape[0]).T.contiguous()
    result = gradient.new_empty(shape[0], *shape[2:], shape[1])
    for row in range(shape[2]):
        for column in range(shape[3]):
            seen = inputs[:, row : row + height, column : column + width].reshape(-1, shape[1])
            result[:, row, column] = outputs @ seen
    return result.permute(0, 3, 1, 2)
