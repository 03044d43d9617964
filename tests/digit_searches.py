"""Small searches on the handwritten digits."""

import json

import kilnet

SETTINGS = {
    "model.c2": 8,
    "model.l1": 16,
    "optimizer.lr": 0.006,
    "training.batch_size": 64,
    "data.num_train": 600,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}
SPACE = {"model.c1": [4, 8], "model.d1": [0.0, 0.1]}


def tune(out, data="digits", space=SPACE, **options):
    standard = {"workers": 1, "finalists": 1, "seeds": 1, "epochs": 2, "device": "cpu", "progress": False}
    settings = SETTINGS | options.pop("settings", {})
    return kilnet.tune(data, space, settings=settings, out=out, **(standard | options))


def number_of_reads(run):
    return json.loads((run / "evaluation.json").read_text())["test"]["num_reads"]
