"""A network rewritten for use in fp32 on a CPU: what follows a layer value by value is done inside it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fused(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a network that gives the same answers sooner, up to rounding.

    Batch norm becomes part of the convolution before it, and ReLU or GELU of the convolution or linear layer before
    it, which oneDNN then computes. What that gives is in docs/experiments.md (2026-11-26).

    The operators that have ReLU inside are those that torch.compile uses, and torch does not promise to keep them. So
    their answers are compared with the network's own before anybody relies on them.

    Args:
        model: network on the CPU, in evaluation mode, float32; it is not changed.
        images: a few, float32 (num_images, channels, height, width), normalised.

    Returns:
        A network that shares the weights it does not change; `model` itself where its code cannot be followed, torch
        lacks the operators, or the answers differ.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return model
    try:
        result = fx.GraphModule(model, _Tracer().trace(model))
        _join(result, _is_conv, _is_norm, fuse_conv_bn_eval)
        _join(result, _takes_activation, _is_activation, _WithActivation)
        result.recompile()
        with torch.inference_mode():
            expected, answers = model(images), result(images)
    except Exception:  # a network of the user's own may do anything while it is followed
        return model
    largest_error = 1e-4 * float(expected.abs().max())
    return result if torch.allclose(answers, expected, rtol=0, atol=largest_error) else model


class _Tracer(fx.Tracer):
    """Takes convolutions and linear layers as they are, also those that are derived from torch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | nn.Linear) or super().is_leaf_module(m, module_qualified_name)


class _WithActivation(nn.Module):
    """A convolution or linear layer whose values go through ReLU or GELU before they go to memory."""

    def __init__(self, layer: nn.Module, activation: object) -> None:
        super().__init__()
        self.layer = layer
        self._after: list[Any] = ["gelu", [], "none"] if _is_gelu(activation) else ["relu", [], ""]

    def forward(self, x: Tensor) -> Tensor:
        layer: Any = self.layer
        options, operator = self._after, torch.ops.mkldnn._linear_pointwise
        if isinstance(layer, nn.Conv2d):
            options = [layer.padding, layer.stride, layer.dilation, layer.groups, *options]
            operator = torch.ops.mkldnn._convolution_pointwise
        return operator(x, layer.weight, layer.bias, *options)  # type: ignore[no-any-return]


def _join(
    network: fx.GraphModule,
    is_first: Callable[[nn.Module], bool],
    is_second: Callable[[object], bool],
    make: Callable[[Any, Any], nn.Module],
) -> None:
    """Put one layer in place of two, wherever the second alone reads what the first one writes."""
    calls = Counter(node.target for node in network.graph.nodes)
    for node in list(network.graph.nodes):
        before = node.args[0] if node.args else None
        if not (isinstance(before, fx.Node) and before.op == "call_module"):
            continue
        first, second = _what(network, before), _what(network, node)
        if is_first(first) and is_second(second) and len(before.users) == calls[before.target] == 1:
            network.set_submodule(str(before.target), make(first, second))
            node.replace_all_uses_with(before)
            network.graph.erase_node(node)


def _what(network: fx.GraphModule, node: fx.Node) -> Any:
    """Return the layer, function or name that a node calls; None for a function with options of its own."""
    if node.op == "call_module":
        return network.get_submodule(str(node.target))
    return None if node.kwargs.keys() - {"inplace"} else node.target


def _is_conv(layer: object) -> bool:
    return isinstance(layer, nn.Conv2d) and type(layer).forward is nn.Conv2d.forward


def _takes_activation(layer: object) -> bool:
    if isinstance(layer, nn.Conv2d):
        return _is_conv(layer) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward


def _is_norm(layer: object) -> bool:
    return type(layer) is nn.BatchNorm2d and layer.track_running_stats


def _is_activation(what: object) -> bool:
    return type(what) is nn.ReLU or what in (F.relu, torch.relu) or _is_gelu(what)


def _is_gelu(what: object) -> bool:
    return what is F.gelu or (isinstance(what, nn.GELU) and what.approximate == "none")
