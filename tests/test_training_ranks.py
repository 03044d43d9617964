"""Processes that train one network together, beside one process that does it alone."""

import subprocess
import sys

import pytest
import torch

from kilnet.training.ranks import ALONE, Clock, joined

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
PROGRAM = """
import atexit
import os
import sys

import torch
from torch import distributed, nn

from kilnet.config import RunConfig
from kilnet.hardware import Settings
from kilnet.training.muon import Muon
from kilnet.training.ranks import joined
from kilnet.training.step import TrainStep

torch.set_num_threads(1)
atexit.register(lambda: distributed.is_initialized() and os._exit(9))  # whoever is still joined may abort later
ranks = joined()
states = {}
for name in ("sgd", "muon"):
    torch.manual_seed(0)
    block = lambda channels, norm: [nn.Conv2d(channels, 8, 3), norm, nn.ReLU()]
    layers = [*block(3, nn.BatchNorm2d(8)), *block(8, nn.BatchNorm2d(8, affine=False)), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(512, 10), nn.BatchNorm1d(10, momentum=0.3))
    images, labels, weights = torch.randn(33, 3, 12, 12), torch.randint(0, 10, (33,)), torch.rand(33)
    if name == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    else:
        optimizer = Muon(model.parameters(), 0.02, 0.9, 0.6, 0.0, 1.0, 1.0, ranks)
    config = RunConfig.model_validate({"optimizer": {"clip_norm": 1.0}})
    step = TrainStep(model, optimizer, config, Settings("cpu", "fp32", "contiguous", 1), None, ranks)
    for _ in range(20):
        loss, num_correct = step(*map(ranks.part, (images, labels)), 0, ranks.part(weights))
    model.eval()
    answers = ranks.divided(lambda part: model(part).detach(), images)
    few = ranks.divided(lambda part: part + 1, images[:1])
    told = {"answers": answers, "few": few, "loss": loss, "num_correct": num_correct}
    states[name] = model.state_dict() | told
if ranks.rank == 0:
    torch.save(states, sys.argv[1])
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    """In fp32, 20 steps of an odd batch, batch norm of two kinds, weighted images and clipped gradients."""
    (tmp_path / "program.py").write_text(PROGRAM)
    found = []
    for name, start in {"one": [sys.executable], "two": TORCHRUN}.items():
        words = [*start, tmp_path / "program.py", tmp_path / name]
        subprocess.run([*map(str, words)], check=True, capture_output=True, timeout=200)
        found.append(torch.load(tmp_path / name, weights_only=True))
    for optimizer in ("sgd", "muon"):
        one, two = (states[optimizer] for states in found)
        assert one.keys() == two.keys()
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5, msg=f"{optimizer} {name}")


def test_one_process_keeps_everything_to_itself(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert joined() is ALONE
    items = torch.arange(3.0)
    assert ALONE.part(items) is items
    assert ALONE.divided(torch.neg, items).tolist() == [0, -1, -2]
    ALONE.add([items])
    ALONE.tick()
    assert items.tolist() == [0, 1, 2]
    assert ALONE.share("value") == "value"
    assert ALONE.clock.now is None


def test_a_clock_stands_still_where_it_is_told_to():
    clock = Clock()
    first = clock()
    assert clock() >= first
    clock.now = 5.0
    assert clock() == clock() == 5.0
