"""The average of a network's weights over the last steps."""

import copy

import torch
from torch import nn


class WeightAverage:
    """An exponential average of weights, often better than the weights after the last step.

    Until `num_steps` are done it is the mean of all weights so far, so that the first weights are soon forgotten
    (Polyak and Juditsky, 1992; with networks, Izmailov et al., 2018, arXiv 1803.05407).

    Args:
        model: the network that trains.
        num_steps: over how many steps to average, at least 1.

    Attributes:
        model: a copy of the network, with the averaged weights; statistics of batch norm are those of `model` when
            `take_statistics` was last called.
    """

    def __init__(self, model: nn.Module, num_steps: float) -> None:
        self.model = copy.deepcopy(model)
        self._num_steps = num_steps

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take the weights after a step, counted from 1 over the whole run."""
        weight = max(1 / step, 1 / self._num_steps)
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), weight)

    @torch.no_grad()
    def take_statistics(self, model: nn.Module) -> None:
        """Copy buffers, which averaging would spoil where they are counts."""
        for own, latest in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(latest)
