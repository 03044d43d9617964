"""From a name in the configuration to a network that fits the images."""

import importlib
import inspect
from collections.abc import Callable, Set
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from kilnet.config import TIMM, ModelConfig, is_foreign
from kilnet.errors import ConfigError, ModelError, nearest
from kilnet.models import timm_network
from kilnet.models.convnet import ConfigNet, ConvNet
from kilnet.models.efficientnet import EfficientNetLite
from kilnet.models.fastnet import FastNet
from kilnet.models.resnet import ResNet

Builder = Callable[..., nn.Module]

MODELS: dict[str, Builder] = {
    net.__name__: net for net in (ConvNet, ConfigNet, ResNet, FastNet, EfficientNetLite)
}
_GIVEN = ("image_shape", "num_classes")


_GIVEN_BUILDERS: dict[
    str, Builder
] = {}  # functions and classes that callers have handed over, by their names


def named(model: str | Builder | None) -> str | None:
    """Return the name of a network; a function or class gets "module:name", by which this process finds it.

    Raises:
        ModelError: it is no function or class, such as a network that has been built already.
    """
    if model is None or isinstance(model, str):
        return model
    if (known := next((name for name, builder in MODELS.items() if builder is model), None)) is not None:
        return known
    if isinstance(model, nn.Module) or not hasattr(model, "__qualname__"):
        raise ModelError(
            f"`model` is a {type(model).__name__}; give the function or class that builds it, which is called with "
            "image_shape and num_classes"
        )
    name = f"{model.__module__}:{model.__qualname__}"
    _GIVEN_BUILDERS[name] = model
    return name


def own_models(*models: str | Builder | None) -> frozenset[str]:
    """Return the networks that a caller has named or handed over, as `complete` and `build` take them."""
    return frozenset(name for name in map(named, models) if name)


def complete(config: ModelConfig, own_models: Set[str] = frozenset()) -> ModelConfig:
    """Return the configuration with the network's name as in the table and every option at its value.

    A configuration may come from anybody's file, and importing a module runs it. So code outside Kilnet is imported
    only where the caller names it too.

    Args:
        config: name and options.
        own_models: every "package.module:builder" that the caller has named.

    Raises:
        ModelError: there is no such network, its builder cannot be imported, or the caller has not named it.
        ConfigError: an option is unknown (the nearest right one is named) or has the wrong type.
    """
    name, builder = _find(config.name, own_models)
    try:
        parameters = inspect.signature(builder).parameters
    except ValueError as error:
        raise ModelError(f"`model={name!r}`: its options are not known: {error}") from None
    known = [
        key
        for key, parameter in parameters.items()
        if key not in _GIVEN and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    defaults = {key: _as_in_toml(parameters[key].default) for key in known}
    options = {key: default for key, default in defaults.items() if _fits_toml(default)}
    for key, value in config.options.items():
        if key not in known and not takes_any:
            near = nearest(f"model.{key}", [f"model.{k}" for k in known])
            raise ConfigError(f"unknown key model.{key}{near if known else f'; {name} has no options'}")
        options[key] = _checked(key, _as_in_toml(value), options.get(key))
    return ModelConfig(name=name, **options)


def build(
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    own_models: Set[str] = frozenset(),
) -> nn.Module:
    """Build a network and verify with two black images that it fits.

    Args:
        config: name and options.
        image_shape: (channels, height, width) of the images.
        num_classes: number of logits.
        own_models: see `complete`.

    Returns:
        The network in training mode, weights drawn from torch's default generator.

    Raises:
        ModelError: it does not exist, is not named, does not fit the images, or does not return one logit per class.
        ConfigError: an option is unknown or has the wrong type.
    """
    config = complete(config, own_models)
    _, builder = _find(config.name, own_models)
    try:
        model = builder(image_shape=image_shape, num_classes=num_classes, **config.options)
    except ModelError:
        raise
    except Exception as error:  # a user's own network may raise anything
        raise _does_not_take(config.name, image_shape, error) from error
    verify_shapes(model, config.name, image_shape, num_classes)
    return model.train()


def verify_shapes(model: nn.Module, name: str, image_shape: tuple[int, int, int], num_classes: int) -> None:
    """Show a network two black images of a shape, and leave it as it was.

    Raises:
        ModelError: it does not take them, or does not return one logit per class.
    """
    try:
        was_training = model.training
        with torch.no_grad():
            logits = model.eval()(torch.zeros(2, *image_shape))
        model.train(was_training)
    except Exception as error:
        raise _does_not_take(name, image_shape, error) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"{name} returns {shape} for 2 images; it must return (2, {num_classes}) logits")


def _does_not_take(name: str, image_shape: tuple[int, int, int], error: Exception) -> ModelError:
    return ModelError(f"{name} does not take images of shape {image_shape}: {_first_line(error)}")


@runtime_checkable
class Preparable(Protocol):
    """A network that wants to see training images before its first step."""

    def prepare(self, images: Tensor) -> None:
        """Take what it needs from normalised images, float32 (num_images, channels, height, width)."""


def prepare(model: nn.Module, images: Tensor) -> None:
    """Show a network that has a method `prepare` some normalised training images; leave others alone."""
    if isinstance(model, Preparable):
        model.prepare(images)


@runtime_checkable
class Advancing(Protocol):
    """A network that trains more or less of itself in the course of its training."""

    def advance(self, done: float) -> None:
        """Take how much of the training is done, 0 to 1; called before each step."""


def advance(model: nn.Module, done: float) -> None:
    """Tell a network that has a method `advance` how much of its training is done, 0 to 1; leave others alone."""
    if isinstance(model, Advancing):
        model.advance(done)


def as_known(name: str) -> str:
    """Return a network's name as the table has it, in whatever case it is given; any other name as it is."""
    return next((known for known in MODELS if known.lower() == name.lower()), name)


def _find(name: str, own_models: Set[str]) -> tuple[str, Builder]:
    if name.startswith(TIMM):
        return timm_network.find(name)
    if is_foreign(name):
        if name not in own_models:
            raise ModelError(
                f"{name} is code outside Kilnet, which a file cannot choose; if it is yours, name it: `model={name!r}`"
            )
        return name, _import(name)
    if (known := as_known(name)) in MODELS:
        return known, MODELS[known]
    raise ModelError(
        f"no model {name!r}{nearest(name, list(MODELS))}; or give timm:NAME, or package.module:builder of your own"
    )


def _import(name: str) -> Builder:
    if name in _GIVEN_BUILDERS:
        return _GIVEN_BUILDERS[name]
    module_name, _, attribute = name.partition(":")
    try:
        builder = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # the user's module may raise anything while it is imported
        raise ModelError(f"`model={name!r}`: cannot be imported: {_first_line(error)}") from error
    if not callable(builder):
        raise ModelError(
            f"`model={name!r}`: is a {type(builder).__name__}, not a function or class that builds a model"
        )
    return builder  # type: ignore[no-any-return]


def _as_in_toml(value: Any) -> Any:
    """Return tuples as the lists that TOML makes of them, or a configuration would differ from its own file."""
    return [_as_in_toml(item) for item in value] if isinstance(value, tuple | list) else value


def _fits_toml(value: Any) -> bool:
    """Whether TOML can hold a default; the builder alone knows the others, such as None, a class or none at all."""
    return isinstance(value, str | int | float) or (isinstance(value, list) and all(map(_fits_toml, value)))


def _checked(key: str, value: Any, default: Any) -> Any:
    if default is None:
        return value
    if isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, type(default)) or isinstance(value, bool) != isinstance(default, bool):
        raise ConfigError(f"model.{key} = {value!r}: must be of type {type(default).__name__}")
    return value


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
