"""Importing Kilnet changes nothing in the process: that is for the program, or for a call."""

import json
import subprocess
import sys

PROGRAM = """
import importlib, json, os, pkgutil, signal, sys, threading
import fastapi, matplotlib.figure, onnx, optuna, PIL.Image, pooch, rich.progress, sklearn.datasets
import torch, typer, uvicorn

def process():
    return {
        "environment": dict(os.environ),
        "path": list(sys.path),
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "torch threads": torch.get_num_threads(),
        "torch seed": torch.initial_seed(),
        "matplotlib backend": matplotlib.get_backend(auto_select=False),
        "optuna verbosity": optuna.logging.get_verbosity(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "folder": sorted(os.listdir()),
    }

before = process()
import kilnet
modules = [module.name for module in pkgutil.walk_packages(kilnet.__path__, "kilnet.")]
for module in modules:
    importlib.import_module(module)
after = process()
print(json.dumps([modules, [name for name in before if before[name] != after[name]]]))
"""


def test_importing_every_module_changes_nothing_in_the_process(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules, changed = json.loads(done.stdout)
    assert {"kilnet.hardware", "kilnet.models.build", "kilnet.tuning.strategy", "kilnet.cli.program"} <= {
        *modules
    }
    assert changed == []
    assert done.stderr == ""


TRAINING = """
import sys
import kilnet, torch
from kilnet.config import OptimizerConfig
from kilnet.training.optim import make_optimizer
kilnet.train
for name in ("muon", "adam", "adamw", "sgd"):
    weights = torch.nn.Parameter(torch.ones(2, 2, 3, 3))
    optimizer = make_optimizer(OptimizerConfig(name=name), [weights])
    optimizer.zero_grad()
    weights.square().sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
late = ("matplotlib", "scipy", "sklearn", "optuna", "requests", "pooch", "torch._dynamo", "kilnet.tuning")
print([name for name in late if name in sys.modules])
"""


def test_training_imports_nothing_that_its_steps_do_without():
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
