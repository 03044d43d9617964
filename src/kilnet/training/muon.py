"""Muon: filters move by orthogonalised momentum, everything else by Nesterov's."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kilnet.training.eager import EagerOptimizer
from kilnet.training.ranks import ALONE, Ranks

# Keller Jordan, 2024, "Muon: An optimizer for hidden layers in neural networks": coefficients of an odd polynomial that
# takes singular values between 0 and 1 to about 1 when it is applied a few times. Three times are enough for filters
# (airbench94_muon).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_NUM_ITERATIONS = 3


class Muon(EagerOptimizer):
    """Orthogonalised momentum for filters, Nesterov SGD for all other parameters.

    The filters of a convolution are seen as a matrix with one row per filter. Before each step they are scaled to a
    norm of the square root of the number of rows, and then moved by lr times the orthogonalised Nesterov momentum,
    which changes each row by about lr of its length (Jordan, 2024, airbench94_muon). This suits filters that a batch
    norm follows, for which their length does not matter.

    Args:
        parameters: those with four axes are filters; those with one, biases, learn faster.
        lr: of the filters; a tensor is read again in each step, also in one that a GPU plays back.
        momentum: of everything else.
        filter_momentum: of the filters.
        weight_decay: of everything else; a factor on lr, so that biases shrink no faster than the rest.
        linear_factor, bias_factor: lr of everything else, and of biases among it, in units of `lr`.
        ranks: the processes that share out the orthogonalisation, whose gradients are the same.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float | Tensor,
        momentum: float,
        filter_momentum: float,
        weight_decay: float,
        linear_factor: float,
        bias_factor: float,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        kinds = [
            ([p for p in learned if p.dim() == 4], 1.0, filter_momentum, 0.0),
            ([p for p in learned if p.dim() not in (1, 4)], linear_factor, momentum, weight_decay),
            (
                [p for p in learned if p.dim() == 1],
                bias_factor,
                momentum,
                weight_decay * linear_factor / bias_factor,
            ),
        ]
        names = ("params", "lr_factor", "momentum", "weight_decay")
        super().__init__([dict(zip(names, kind, strict=True)) for kind in kinds if kind[0]], {"lr": lr})
        for group in self.param_groups:
            group["lr"] = lr * group["lr_factor"]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; a closure is not supported."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            moving = [p for p in group["params"] if p.grad is not None]
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in moving:
                if parameter.dim() == 4:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
                    continue
                gradient = parameter.grad.add(parameter, alpha=group["weight_decay"])
                direction = self._nesterov(parameter, gradient, group["momentum"])
                parameter.sub_(direction.mul_(group["lr"]))
            for filters in by_shape.values():
                self._move_filters(filters, group)

    def _move_filters(self, filters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Move filters of one shape, each as a matrix (out, in * height * width), all in one product of matrices."""
        directions = [self._nesterov(p, p.grad, group["momentum"]).flatten(1) for p in filters]
        updates = self._ranks.divided(orthogonalised, torch.stack(directions))
        weights = torch.stack([p.flatten(1) for p in filters])
        weights *= weights.shape[1] ** 0.5 / weights.norm(dim=(1, 2), keepdim=True)
        weights.sub_(updates.mul_(group["lr"]))
        for parameter, weight in zip(filters, weights, strict=True):
            parameter.copy_(weight.view_as(parameter))

    def _nesterov(self, parameter: nn.Parameter, gradient: Tensor | None, momentum: float) -> Tensor:
        """Add a gradient to a parameter's moment; return the direction in which Nesterov's momentum goes."""
        assert gradient is not None  # noqa: S101 only parameters that have one come here
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        moment: Tensor = state["momentum"]
        moment.mul_(momentum).add_(gradient)
        return gradient.add(moment, alpha=momentum)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return about the nearest matrices with orthonormal rows, or columns if there are fewer of those.

    Newton-Schulz iterations: an odd polynomial of the singular values. Since each iterate is a polynomial of X X' times
    X, the iterations need the small square X X' alone, and X enters once at each end; with long rows that is under half
    of the usual work.

    Args:
        matrices: float32 (num_matrices, num_rows, num_columns); zeros stay zeros.

    Returns:
        float32, the same shape; singular values are about 0.7 to 1.2, those that were below a hundredth of the largest
        less.
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-20)
    gram = x @ x.mT
    polynomial = factor = _quadratic(gram)
    for _ in range(_NUM_ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _quadratic(gram)
        polynomial = factor @ polynomial
    x = polynomial @ x
    return x.mT if is_tall else x


def _quadratic(gram: Tensor) -> Tensor:
    """Return a + b X + c X X of each matrix."""
    a, b, c = _COEFFICIENTS
    result = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=1, dim2=2).add_(a)
    return result
