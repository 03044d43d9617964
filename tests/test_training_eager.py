"""Optimisers without torch's compiler compute what torch's own compute, to the byte."""

import pytest
import torch
from torch import nn

from kilnet.training import eager


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_steps_states_and_hooks_are_those_of_torch(name):
    options = {"lr": 0.1, "weight_decay": 0.01, "fused": True} | ({"momentum": 0.9} if name == "SGD" else {})
    weights, states = [], []
    for kind in (getattr(eager, name), getattr(torch.optim, name)):
        parameter = nn.Parameter(torch.linspace(-1, 1, 20))
        optimizer, seen = kind([parameter], **options), []
        optimizer.register_step_post_hook(lambda *_, seen=seen: seen.append(1))
        for _ in range(3):
            optimizer.zero_grad()
            parameter.sin().sum().backward()
            optimizer.step()
        again = kind([parameter], **options)
        again.load_state_dict(optimizer.state_dict())
        again.step()
        assert len(seen) == 3
        assert parameter.grad is not None
        weights.append(parameter.detach())
        states.append(again.state_dict())
    assert torch.equal(*weights)
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for moments in zip(*(state["state"][0].values() for state in states), strict=True):
        assert torch.equal(*moments)
