"""Muon against plain loops in double precision over one matrix at a time."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kilnet.config import OptimizerConfig
from kilnet.errors import ConfigError
from kilnet.recipes.reading import load_config
from kilnet.training.muon import Muon, orthogonalised
from kilnet.training.optim import make_optimizer

OPTIONS = {
    "lr": 0.1,
    "momentum": 0.85,
    "filter_momentum": 0.6,
    "weight_decay": 0.01,
    "linear_factor": 2.0,
    "bias_factor": 8.0,
}


def by_svd(matrix):
    """Apply the polynomial to the singular values of one float64 matrix, three times."""
    left, values, right = np.linalg.svd(matrix / np.linalg.norm(matrix), full_matrices=False)
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left * values @ right


@pytest.mark.parametrize("shape", [(3, 16, 36), (1, 40, 9), (2, 12, 12), (1, 5, 1), (1, 1, 7), (2, 64, 576)])
def test_orthogonalised_is_the_polynomial_of_the_singular_values(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    expected = np.stack([by_svd(matrix) for matrix in matrices.double().numpy()])
    np.testing.assert_allclose(orthogonalised(matrices).numpy(), expected, atol=2e-5)


def test_orthogonalised_is_near_the_nearest_orthogonal_matrix():
    matrix = torch.randn(1, 32, 288, generator=torch.Generator().manual_seed(0))
    left, _, right = np.linalg.svd(matrix[0].double().numpy(), full_matrices=False)
    ours = orthogonalised(matrix)[0].double().numpy()
    assert np.linalg.norm(ours - left @ right, 2) < 0.35
    values = np.linalg.svd(ours, compute_uv=False)
    assert values.min() > 0.65
    assert values.max() < 1.25


def test_nearly_singular_and_empty_gradients_stay_finite():
    flat = torch.ones(2, 16, 36)  # one singular value is not zero
    expected = np.stack([by_svd(matrix) for matrix in flat.double().numpy()])
    np.testing.assert_allclose(orthogonalised(flat).numpy(), expected, atol=1e-4)
    assert torch.equal(orthogonalised(torch.zeros(1, 4, 9)), torch.zeros(1, 4, 9))


def make_network():
    torch.manual_seed(0)
    frozen = nn.Conv2d(3, 6, 1)
    frozen.weight.requires_grad_(False)
    filters = nn.Conv2d(6, 8, 3), nn.Conv2d(8, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)
    return nn.Sequential(frozen, *filters, nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 16, 4))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moves_every_parameter_as_a_plain_loop_does(layout):
    ours, plain = make_network().to(memory_format=layout), make_network().double()
    optimizer = Muon(ours.parameters(), **OPTIONS)
    moments = {}
    stream = torch.Generator().manual_seed(1)
    for step in range(4):
        factor = 1 - step / 4
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * factor * group["lr_factor"]
        images = torch.randn(16, 3, 10, 10, generator=stream)
        labels = torch.arange(16) % 4
        for network in (ours, plain):
            network.zero_grad()
            F.cross_entropy(network(images.to(network[6].weight.dtype)), labels).backward()
        optimizer.step()
        for name, parameter in plain.named_parameters():
            if not parameter.requires_grad:
                continue
            is_filter = parameter.dim() == 4
            weights, gradient = parameter.data, parameter.grad
            if not is_filter:
                gradient = gradient + weights * (0.01 if parameter.dim() == 2 else 0.01 * 2 / 8)
            momentum = 0.6 if is_filter else 0.85
            moments[name] = momentum * moments.get(name, 0) + gradient
            direction = gradient + momentum * moments[name]
            if is_filter:
                weights *= len(weights) ** 0.5 / weights.norm()
                matrix = by_svd(direction.reshape(len(weights), -1).numpy())
                weights -= 0.1 * factor * torch.from_numpy(matrix).view_as(weights)
            else:
                weights -= 0.1 * factor * (2 if parameter.dim() == 2 else 8) * direction
    for (name, ours_now), (_, expected) in zip(
        ours.named_parameters(), plain.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours_now, expected.float(), rtol=2e-3, atol=2e-4, msg=name)
    frozen, start = ours[0].weight, make_network()[0].weight
    assert torch.equal(frozen, start)
    assert not torch.allclose(ours[2].weight, make_network()[2].weight, atol=0.01)


def test_comes_from_the_configuration_with_its_factors():
    config = OptimizerConfig(name="muon", lr=0.24, momentum=0.85, linear_factor=7, bias_factor=440)
    optimizer = make_optimizer(config, make_network().parameters())
    rates = {group["lr"]: sorted({p.dim() for p in group["params"]}) for group in optimizer.param_groups}
    assert rates == {0.24: [4], 0.24 * 7: [2], 0.24 * 440: [1]}
    assert [group["momentum"] for group in optimizer.param_groups] == [0.6, 0.85, 0.85]


@pytest.mark.parametrize("key", ["filter_momentum", "linear_factor", "bias_factor"])
def test_its_factors_are_refused_for_other_optimisers(key):
    with pytest.raises(ConfigError, match=f'{key} goes with name = "muon"'):
        load_config(settings={f"optimizer.{key}": 0.5})


def test_a_closure_is_refused():
    with pytest.raises(ValueError, match="no closure"):
        Muon(make_network().parameters(), **OPTIONS).step(lambda: 0.0)
