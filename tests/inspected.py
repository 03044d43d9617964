"""Networks to look into, small and of every make, for the tests of inspection."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kilnet import models
from kilnet.config import ModelConfig
from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.inference.classifier import Classifier

CLASSES = ("cat", "dog", "frog")
SETTINGS = Settings("cpu", "fp32", "contiguous", 1)


def classifier_of(model, image_shape, classes=CLASSES, config=None, settings=SETTINGS):
    channels, height, width = image_shape
    preprocessing = Preprocessing((0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels], (height, width))
    return Classifier(model.eval(), config or ModelConfig(name="mine:net"), classes, preprocessing, settings)


def built(name, image_shape=(3, 16, 16), classes=CLASSES, seed=0, **options):
    """A network of Kilnet's own, with batch norm statistics that are not those of the beginning."""
    torch.manual_seed(seed)
    config = models.complete(ModelConfig(name=name, **options))
    model = models.build(config, image_shape, len(classes))
    model(torch.randn(16, *image_shape))
    return classifier_of(model, image_shape, classes, config)


def config_net(image_shape=(3, 16, 16), **options):
    return built("ConfigNet", image_shape, **{"c1": 4, "c2": 6, "l1": 8, **options})


def res_net(image_shape=(3, 16, 16)):
    return built("ResNet", image_shape, depth=8, width=4)


class Backwards(nn.Module):
    """Its layers are made in another order than they run in; one runs twice, one is never used."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(5, 7, 1)
        self.unused = nn.Conv2d(3, 9, 3)
        self.middle = nn.Conv2d(5, 5, 5, padding=2)
        self.first = nn.Conv2d(3, 5, (3, 5), padding=(1, 2))
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        x = F.gelu(self.middle(x)) + x
        x = self.middle(x).relu_()
        return self.head(self.last(x).mean((2, 3)))


class WithoutConvolution(nn.Module):
    def __init__(self, image_shape):
        super().__init__()
        self.linear = nn.Linear(int(np.prod(image_shape)), 3)

    def forward(self, x):
        return self.linear(x.flatten(1))


def backwards():
    torch.manual_seed(1)
    return classifier_of(Backwards(), (3, 12, 12))


def without_convolution():
    torch.manual_seed(2)
    return classifier_of(WithoutConvolution((1, 4, 4)), (1, 4, 4))


def pictures(classifier, num_images=1, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (num_images, *classifier.image_shape), np.uint8)


NETWORKS = {
    "ConfigNet": config_net,
    "grey": lambda: config_net((1, 17, 17), kernel_size=5),
    "ConvNet": lambda: built("ConvNet"),
    "ResNet": res_net,
    "backwards": backwards,
}
