"""Jobs that measure a small network."""

from kilnet.recipes.reading import load_config
from kilnet.tuning.backends.jobs import SpeedJob

TINY = {"model.name": "ConfigNet", "model.c1": 2, "model.c2": 4, "model.l1": 8, "training.batch_size": 20}
FIXED = {"hardware.device": "cpu", "hardware.precision": "fp32", "hardware.layout": "contiguous"}


def speed_job(**settings):
    config = load_config(settings={**TINY, **FIXED, **settings})
    return SpeedJob(name="speed", config=config, image_shape=(1, 12, 12), num_classes=3, seconds=0.2)
