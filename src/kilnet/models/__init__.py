"""Networks, and the table from name to builder."""

from kilnet.models.build import (
    MODELS,
    Builder,
    advance,
    as_known,
    build,
    complete,
    named,
    own_models,
    prepare,
    verify_shapes,
)
from kilnet.models.convnet import ConfigNet, ConvNet
from kilnet.models.efficientnet import EfficientNetLite
from kilnet.models.fastnet import FastNet
from kilnet.models.resnet import ResNet

__all__ = [
    "MODELS",
    "Builder",
    "ConfigNet",
    "ConvNet",
    "EfficientNetLite",
    "FastNet",
    "ResNet",
    "advance",
    "as_known",
    "build",
    "complete",
    "named",
    "own_models",
    "prepare",
    "verify_shapes",
]
