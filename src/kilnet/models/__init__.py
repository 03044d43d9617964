"""Networks, and the table from name to builder."""

from kilnet.models.build import MODELS, build, complete
from kilnet.models.convnet import ConfigNet, ConvNet
from kilnet.models.resnet import ResNet

__all__ = ["MODELS", "ConfigNet", "ConvNet", "ResNet", "build", "complete"]
