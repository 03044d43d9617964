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


def test_training_imports_nothing_that_its_first_step_does_without():
    late = (
        "matplotlib",
        "scipy",
        "sklearn",
        "optuna",
        "requests",
        "pooch",
        "pandas",
        "kilnet.verbs.cross_validate",
    )
    program = f"import kilnet, sys; kilnet.train; print([name for name in {late} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
