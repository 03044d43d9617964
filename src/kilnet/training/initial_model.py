"""The network that a run begins with, and what it computes with."""

import math
from collections.abc import Set
from dataclasses import replace

import torch
from torch import nn

from kilnet import hardware, models
from kilnet.config import HardwareConfig, RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import ConfigError, RunFolderError
from kilnet.hardware import Settings
from kilnet.inference.classifier import load_classifier
from kilnet.models.depthwise import has_any
from kilnet.models.pretrained import is_pretrained, load_pretrained, published
from kilnet.seeding import derive, generator
from kilnet.storage import given_path
from kilnet.training.resolution import refuse_other_sizes
from kilnet.training.run_folder import RunFolder

_HARDWARE_PART = 0.02  # of a budget, for each comparison of what to compute with
_LEAST_PREPARATION_IMAGES = 32
_NUM_PREPARATION_IMAGES = 1024  # half a million patches of 32x32 pixels


def initial_model(
    config: RunConfig,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    is_resumed: bool,
    own_models: Set[str],
) -> nn.Module:
    """Build a network with the weights it starts from: drawn from the seed, pretrained, or those of the parent.

    Args:
        config: complete but for the hardware.
        dataset: what it will train on; some networks are prepared with some of its training images.
        preprocessing: of these images.
        is_resumed: whether a state will replace the weights, which are then only drawn.
        own_models: see `kilnet.models.complete`.

    Raises:
        ModelError: the network does not take these images, or not at a resolution of the configuration.
        RunFolderError: the parent's weights do not fit.
        MissingPackageError: the package with pretrained weights is not installed.
    """
    torch.manual_seed(derive(config.seed, "weights"))
    model = models.build(config.model, dataset.image_shape, len(dataset.classes), own_models)
    refuse_other_sizes(model, config, dataset.image_shape, len(dataset.classes))
    if is_resumed:
        return model
    if config.training.initial_weights == "parent":
        _load_parent(model, config, dataset, own_models)
        return model
    if begins_pretrained(config):
        load_pretrained(model, config.model)
        return model
    images = dataset.train.images
    most = hardware.images_at_once(
        _NUM_PREPARATION_IMAGES, *dataset.image_shape[1:], _LEAST_PREPARATION_IMAGES
    )
    num_images = min(len(images), most)
    chosen = generator(config.seed, "preparation").choice(len(images), num_images, replace=False)
    models.prepare(model, preprocessing(torch.from_numpy(images[chosen])))
    return model


def begins_pretrained(config: RunConfig) -> bool:
    """Whether a run, its network's options completed, begins with weights that were trained on other images.

    Raises:
        ConfigError: all but the last layer is to stay as it is, and is random.
    """
    is_first = is_pretrained(config.model) and config.training.initial_weights == "random"
    if config.training.frozen == "features" and not is_first:
        raise ConfigError(
            "`training.frozen='features'` is for a network that begins with pretrained weights, "
            f"such as EfficientNetLite; {config.model.name} would stay as it is"
        )
    return is_first


def preprocessing_for(config: RunConfig, dataset: ImageDataset) -> Preprocessing:
    """Return what images are normalised with: pretrained weights know best, else as `data.normalisation` says.

    Args:
        config: with the network's options completed.
        dataset: whose training images it is fitted to.
    """
    if weights := published(config.model):
        channels, *size = dataset.image_shape
        mean, std = weights.mean, weights.std
        if channels == 1:  # it is seen as three equal channels
            mean, std = (sum(mean) / 3,), (sum(std) / 3,)
        found = Preprocessing(mean, std, (size[0], size[1]))
    else:
        normalise = Preprocessing.half if config.data.normalisation == "half" else Preprocessing.fit
        found = normalise(dataset)
    return replace(found, fitting=config.data.fit or "pad")


def choose_settings(
    config: RunConfig,
    model: nn.Module,
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    uses_kept: bool = True,
) -> Settings:
    """Decide what to compute with; see `hardware.choose`.

    With pretrained weights forward passes decide: training may never begin, and on large images it is slow to time.
    Measuring takes a small part of a budget.
    """
    batch_size = config.training.batch_size_for(len(dataset.train))
    images = preprocessing(torch.from_numpy(dataset.train.images[:batch_size].copy()))
    wanted, trains = with_gradient(config.hardware, model), not begins_pretrained(config)
    return hardware.choose(
        wanted,
        model,
        config.model,
        images,
        len(dataset.classes),
        trains,
        comparing_seconds(config),
        uses_kept,
    )


def comparing_seconds(config: RunConfig) -> float:
    """Return how long each comparison in `hardware.choose` may take: a small part of a budget."""
    return _HARDWARE_PART * (config.budget.seconds or math.inf)


def with_gradient(wanted: HardwareConfig, model: nn.Module) -> HardwareConfig:
    """Return what to compute with where the network's layers settle it: depthwise ones on a CPU have gradients of ours.

    Otherwise `weight_gradient` stays as it is; a budget measures it.
    """
    is_settled = wanted.weight_gradient != "auto" or hardware.resolve_device(wanted.device) != "cpu"
    if is_settled or not has_any(model):
        return wanted
    return wanted.model_copy(update={"weight_gradient": "product"})


def _load_parent(model: nn.Module, config: RunConfig, dataset: ImageDataset, own_models: Set[str]) -> None:
    parent = given_path(config.parent or "")
    on_cpu = Settings("cpu", "fp32", "contiguous", 1)
    classifier = load_classifier(RunFolder(parent).weights_path, on_cpu, own_models)
    if classifier.classes != dataset.classes:
        raise RunFolderError(f"{parent}: its classes are not those of {dataset.name}")
    try:
        model.load_state_dict(classifier.model.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunFolderError(f"{parent}: its weights do not fit this network: {reason}") from None
