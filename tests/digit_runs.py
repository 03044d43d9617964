"""The digits, as the small runs of `digit_runs` in conftest.py were trained on them."""

from kilnet.data.sources import load_dataset
from kilnet.recipes.reading import load_config

SMALL = {
    "model.c1": 4,
    "model.c2": 6,
    "model.l1": 16,
    "data.num_train": 300,
    "training.batch_size": 32,
    "optimizer.lr": 0.01,
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
}


def digits():
    return load_dataset(load_config(settings={**SMALL, "data.source": "digits"}).data)
