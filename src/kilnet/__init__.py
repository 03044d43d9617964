"""Kilnet: train, tune and understand small image classifiers.

    import kilnet
    run = kilnet.train("cifar10", model="ConfigNet", epochs=10)
    print(kilnet.evaluate(run).accuracy)
    print(kilnet.load(run)("cat.jpg").label)

Names are imported when they are first used, so that `import kilnet` and `kilnet --help` do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilnet import plots
    from kilnet.api.compare import RunComparison, compare
    from kilnet.api.data import inspect_data
    from kilnet.api.export import export
    from kilnet.api.finetuning import finetune
    from kilnet.api.inspect import Inspection, inspect
    from kilnet.api.report import report
    from kilnet.api.run import Run
    from kilnet.api.runs import evaluate, train
    from kilnet.api.searches import HyperSearch, Search, promote, tune
    from kilnet.api.serve import serve
    from kilnet.api.show import show
    from kilnet.api.use import load, predict
    from kilnet.classifier import Classifier
    from kilnet.data.adopt import adopt_dataset
    from kilnet.data.dataset import ImageDataset, Split
    from kilnet.metrics import Evaluation
    from kilnet.models import ConfigNet, ConvNet, FastNet, ResNet
    from kilnet.serving.predict import Prediction, Predictor
    from kilnet.training.early_stopping import EarlyStopping

__all__ = [
    "Classifier",
    "ConfigNet",
    "ConvNet",
    "EarlyStopping",
    "Evaluation",
    "FastNet",
    "HyperSearch",
    "ImageDataset",
    "Inspection",
    "Prediction",
    "Predictor",
    "ResNet",
    "Run",
    "RunComparison",
    "Search",
    "Split",
    "adopt_dataset",
    "compare",
    "evaluate",
    "export",
    "finetune",
    "inspect",
    "inspect_data",
    "load",
    "plots",
    "predict",
    "promote",
    "report",
    "serve",
    "show",
    "train",
    "tune",
]

_HOMES = {
    "kilnet.api.finetuning": ("finetune",),
    "kilnet.api.searches": ("HyperSearch", "Search", "promote", "tune"),
    "kilnet.api.compare": ("RunComparison", "compare"),
    "kilnet.api.data": ("inspect_data",),
    "kilnet.api.export": ("export",),
    "kilnet.api.inspect": ("Inspection", "inspect"),
    "kilnet.api.report": ("report",),
    "kilnet.api.run": ("Run",),
    "kilnet.api.runs": ("evaluate", "train"),
    "kilnet.api.serve": ("serve",),
    "kilnet.api.show": ("show",),
    "kilnet.api.use": ("load", "predict"),
    "kilnet.classifier": ("Classifier",),
    "kilnet.data.adopt": ("adopt_dataset",),
    "kilnet.data.dataset": ("ImageDataset", "Split"),
    "kilnet.metrics": ("Evaluation",),
    "kilnet.models": ("ConfigNet", "ConvNet", "FastNet", "ResNet"),
    "kilnet.serving.predict": ("Prediction", "Predictor"),
    "kilnet.training.early_stopping": ("EarlyStopping",),
}


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("kilnet.plots")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'kilnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
