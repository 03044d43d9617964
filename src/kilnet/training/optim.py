"""Optimisers, and the learning rate in the course of a run."""

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from kilnet.config import OptimizerConfig
from kilnet.training import eager
from kilnet.training.muon import Muon
from kilnet.training.ranks import ALONE, Ranks


def make_optimizer(
    config: OptimizerConfig,
    parameters: Iterable[nn.Parameter] | list[dict[str, Any]],
    part_of_batch: float = 1.0,
    rates_on: str | None = None,
    ranks: Ranks = ALONE,
) -> torch.optim.Optimizer:
    """Build the optimiser; torch's fused kernels update all parameters in one pass over memory.

    Args:
        config: which, and how it moves the parameters.
        part_of_batch: how much smaller batches are than the configuration is for. Muon's rates for what is no filter
            fall in proportion (Goyal et al., 2017, arXiv 1706.02677, section 2.1, for SGD); that of the filters, whose
            steps have the same length whatever the gradient, does not.
        rates_on: the device on which learning rates are tensors, for steps that are recorded; None makes them numbers.
        ranks: see `Muon`.
    """
    lr: float | Tensor = config.lr if rates_on is None else torch.tensor(config.lr, device=rates_on)
    momentum = config.momentum
    if config.name == "muon":
        return Muon(
            cast("Iterable[nn.Parameter]", parameters),  # which the configuration sees to
            lr=lr,
            momentum=momentum,
            filter_momentum=config.filter_momentum,
            weight_decay=config.weight_decay,
            linear_factor=part_of_batch * config.linear_factor,
            bias_factor=part_of_batch * config.bias_factor,
            ranks=ranks,
        )
    options: dict[str, Any] = {"lr": lr, "weight_decay": config.weight_decay, "fused": True}
    if config.name == "sgd":
        return eager.SGD(parameters, **options, momentum=momentum, nesterov=momentum > 0)
    kind = eager.AdamW if config.name == "adamw" else eager.Adam
    return kind(parameters, **options, capturable=rates_on is not None)


def by_depth(model: nn.Module, decay: float) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
    """Return a network's parameters, each layer's rate a multiple `lr_factor` of the next one's.

    Layers are the parts of a network in order, those of a sequence of blocks one by one (Howard and Ruder, 2018, arXiv
    1801.06146, section 3.2; a factor for each layer as in Clark et al., 2020, arXiv 2003.10555).

    Args:
        model: a network whose parts are registered in the order in which they compute.
        decay: the multiple; with 1 all parameters have one rate.
    """
    if decay == 1:
        return model.parameters()
    parts = _parts(model)
    groups: list[dict[str, Any]] = [
        {"params": list(part.parameters()), "lr_factor": decay ** (len(parts) - 1 - index)}
        for index, part in enumerate(parts)
    ]
    known = {id(parameter) for group in groups for parameter in group["params"]}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [*groups, *([{"params": others, "lr_factor": 1.0}] if others else [])]


def freeze(model: nn.Module, frozen: str) -> None:
    """Let the layers stay as they are, without gradients, that `training.frozen` means: of "early", the first half.

    They are counted as in `by_depth`.
    """
    parts = _parts(model) if frozen == "early" else []
    for part in parts[: len(parts) // 2]:
        part.requires_grad_(False)


def _parts(model: nn.Module) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for part in model.children():
        blocks = list(part.children()) if isinstance(part, nn.Sequential) else []
        is_sequence = any(list(block.children()) for block in blocks)
        parts += blocks if is_sequence else [part]
    return [part for part in parts if next(part.parameters(), None) is not None]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all groups of parameters, each times its own factor."""
    for group in optimizer.param_groups:
        group_lr = lr * group.get("lr_factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(group_lr)  # a recorded step knows where it is
        else:
            group["lr"] = group_lr


def lr_factor(config: OptimizerConfig, epoch: float, epochs: int) -> float:
    """Return the factor on the highest learning rate, 0 to 1.

    A pure function of where the run is, so that nothing about it has to be saved.

    Args:
        config: schedule and warm-up.
        epoch: `Schedule.fractional_epoch`: 2.5 is the middle of the third.
        epochs: length of the run.

    "onecycle" is the policy of Smith and Topin, 2018, with cosine sides: from 1/25 up to 1 in the first 30%, then
    down to 0.
    """
    if epoch < config.warmup_epochs:
        return epoch / config.warmup_epochs
    length = epochs - config.warmup_epochs
    done = (epoch - config.warmup_epochs) / length if length > 0 else 1.0
    match config.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - done
        case "cosine":
            return _cosine(1, 0, done)
        case "onecycle":
            return _cosine(1 / 25, 1, done / 0.3) if done < 0.3 else _cosine(1, 0, (done - 0.3) / 0.7)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
