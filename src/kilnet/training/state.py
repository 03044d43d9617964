"""The tensors of a training under one name each, as a file keeps them."""

import torch
from torch import Tensor, nn


def state_tensors(
    model: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Return weights, averaged weights and the optimiser's moments by name: "model/conv.weight", "optimizer/0/step"."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    if average:
        tensors |= {f"average/{name}": tensor for name, tensor in average.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
    return tensors


def load_state_tensors(
    tensors: dict[str, Tensor],
    model: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Put what `state_tensors` returned where it came from."""
    weights, averaged, moments = {}, {}, dict[int, dict[str, Tensor]]()
    for name, tensor in tensors.items():
        kind, _, key = name.partition("/")
        if kind == "model":
            weights[key] = tensor
        elif kind == "average":
            averaged[key] = tensor
        else:
            index, _, key = key.partition("/")
            moments.setdefault(int(index), {})[key] = tensor
    model.load_state_dict(weights)
    if average:
        average.load_state_dict(averaged)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        # A file forgets the order of memory, and fused kernels walk a parameter and its moments side by side.
        for key, value in values.items():
            if value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter).copy_(value)
