"""The weights that are validated and kept: those that train, their average, some of the first ones among them."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class KeptWeights:
    """The network that is validated, and worth keeping.

    Args:
        model: the network that trains.
        num_averaged: over about how many of the last steps its weights are averaged; 0, they are not.
        initial_epochs: as how many epochs the weights before the first step count in what is kept; with 1, they are
            half of it after one epoch and an eighth after seven. A pretrained network then keeps some of what it knew,
            whatever a few noisy steps have done to it. Weights between the two are often better than either (Wortsman
            et al., 2022, arXiv 2109.01903; docs/experiments.md, 2026-11-28).
    """

    def __init__(self, model: nn.Module, num_averaged: float, initial_epochs: float) -> None:
        self._trained = model
        self._average = WeightAverage(model, max(1.0, num_averaged)) if num_averaged else None
        self._initial_epochs = initial_epochs
        self._initial = copy.deepcopy(model) if initial_epochs else None
        self._mixed = copy.deepcopy(model) if initial_epochs else None

    @property
    def model(self) -> nn.Module:
        """The network that trains where its weights are kept as they are, else a copy, as of the last `settle`."""
        return self._averaged if self._mixed is None else self._mixed

    @property
    def _averaged(self) -> nn.Module:
        return self._average.model if self._average else self._trained

    @property
    def _copies(self) -> dict[str, nn.Module]:
        """What a resumed run needs, by the first word of its tensors in the state."""
        average = self._average.model if self._average else None
        copies = {"average": average, "initial": self._initial}
        return {word: copied for word, copied in copies.items() if copied is not None}

    def begin(self) -> None:
        """Take the network's weights as those before the first step."""
        for copied in {*self._copies.values(), self.model}:
            copied.load_state_dict(self._trained.state_dict())

    def update(self, step: int) -> None:
        """Take the weights after a step, counted from 1 over the whole run."""
        if self._average:
            self._average.update(self._trained, step)

    @torch.no_grad()
    def settle(self, num_epochs: float) -> None:
        """Bring `model` up to date, so many epochs from the start, with the buffers of the network that trains."""
        if self._average:
            self._average.take_statistics(self._trained)
        if self._mixed is not None and self._initial is not None:
            self._mixed.load_state_dict(self._averaged.state_dict())
            share = self._initial_epochs / (self._initial_epochs + num_epochs)
            torch._foreach_lerp_(list(self._mixed.parameters()), list(self._initial.parameters()), share)

    def state(self) -> dict[str, Tensor]:
        """Return what is needed to resume, beside the weights that train: "average/fc.weight", "initial/fc.weight"."""
        return {
            f"{word}/{name}": tensor
            for word, copied in self._copies.items()
            for name, tensor in copied.state_dict().items()
        }

    def load_state(self, parts: Mapping[str, dict[str, Tensor]]) -> None:
        """Resume from what `state` returned, by the first words of the names."""
        for word, copied in self._copies.items():
            copied.load_state_dict(parts[word])


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
