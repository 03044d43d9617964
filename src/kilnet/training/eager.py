"""torch's optimisers without its compiler.

Each of their methods is wrapped for `torch.compile`, and the first call of one imports the compiler: two seconds in
which nothing trains. Kilnet compiles nothing, and calls what is inside the wrappers.
"""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch


class EagerOptimizer(torch.optim.Optimizer):
    """A base of optimisers that never imports the compiler; it does what its base does."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)


class EagerStep(EagerOptimizer):
    """A base of optimisers of torch, beside theirs, that take their steps without the compiler."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Move all parameters, as the torch optimiser does that stands next among the bases."""
        kind = next(base for base in type(self).__mro__ if base.__module__.startswith("torch.optim."))
        return unwrap(kind.step)(self, closure)  # type: ignore[attr-defined]


class SGD(EagerStep, torch.optim.SGD):
    """`torch.optim.SGD`."""


class Adam(EagerStep, torch.optim.Adam):
    """`torch.optim.Adam`."""


class AdamW(EagerStep, torch.optim.AdamW):
    """`torch.optim.AdamW`."""
