"""The configuration that a verb is asked for."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilnet import models
from kilnet.config import PlannedKey, RunConfig, is_foreign
from kilnet.data.dataset import ImageDataset
from kilnet.data.labelled_arrays import as_pairs
from kilnet.data.sources import Data, located, source_of
from kilnet.errors import ConfigError
from kilnet.models.pretrained import (
    PUBLISHED_SIZES,
    RANDOM,
    PackagedWeights,
    has_published_weights,
    is_installed,
    is_pretrained,
    published,
)
from kilnet.recipes.built_in import FAST, PHOTOS
from kilnet.recipes.changes import change
from kilnet.recipes.reading import load_config, parse_duration
from kilnet.verbs.keys import with_whole_keys


def requested(
    data: Data,
    model: str | None,
    recipe: str | Path | None,
    settings: Mapping[str, Any] | None,
    epochs: int | None,
    seed: int | None,
    device: str | None,
    budget: str | None = None,
    start: str | None = None,
) -> RunConfig:
    """Return the configuration that a verb was asked for: defaults < recipe < settings < named arguments.

    Without a recipe, a network that begins with pretrained weights has that for photographs. With a budget, the fast
    recipe is used where neither recipe nor network is named.

    Args:
        start: "scratch" for random weights, "pretrained" for a network that has others; None, what the network's
            settings say.

    Raises:
        ConfigError: as in `load_config`, or the network has no pretrained weights.
    """
    if start not in (None, *STARTS):
        raise ConfigError(f"`start={start!r}`: there are {' and '.join(STARTS)}")
    named = {
        "data.source": source_of(data) if isinstance(data, str | Path) else type(as_pairs(data)).__name__,
        "model.name": model,
        "training.epochs": epochs,
        "seed": seed,
        "hardware.device": device,
    }
    settings = with_whole_keys(settings or {}, "the settings")
    settings |= {key: value for key, value in named.items() if value is not None}
    if isinstance(name := settings.get("model.name"), str):
        settings["model.name"] = models.as_known(name)
    is_frozen = settings.get("training.frozen") == "features"
    if recipe is None and (has_published_weights(str(settings.get("model.name"))) or is_frozen):
        recipe = PHOTOS
    is_open = recipe is None and "model.name" not in settings
    is_free = is_open and budget is not None
    planned = _FREE if is_free else ()
    if is_open and start == "pretrained":
        settings["model.name"], recipe, is_free, planned = "EfficientNetLite", PHOTOS, False, _FREE_PRETRAINED
    if start == "scratch" and settings.get("model.name") == "EfficientNetLite":
        settings.setdefault("model.weights", RANDOM)
    config = load_config(FAST if is_free else recipe, settings)
    if budget is not None:
        config = with_budget(config, budget, settings, planned)
    _refuse_other_start(config, start)
    config = _with_own_size(config)
    return config.model_copy(update={"data": located(config.data)})


def _refuse_other_start(config: RunConfig, start: str | None) -> None:
    is_begun = not is_foreign(config.model.name) and is_pretrained(models.complete(config.model))
    if start is not None and is_begun != (start == "pretrained"):
        raise ConfigError(
            f"`start={start!r}`: {config.model.name} begins with {'pretrained' if is_begun else 'random'} weights "
            "as it is set; leave one of them out"
        )


def open_choice(
    data: Data,
    model: str | None,
    recipe: str | Path | None,
    settings: Mapping[str, Any] | None,
    seed: int | None,
    device: str | None,
    budget: str | None,
    start: str | None,
) -> list[RunConfig] | None:
    """Return the candidates with pretrained weights that a budget may choose from, those with the least work first.

    The largest network comes with images of its own size, and again with larger ones. Only those whose weights are
    installed. None where there is no choice: without a budget, or where a network, a recipe or a setting of one of them
    is named, or where the images are in memory and have their size.
    """
    settings = with_whole_keys(settings or {}, "the settings")
    keys = settings.keys()
    is_set = any(key.startswith(("model.", "optimizer.")) or key == "training.frozen" for key in keys)
    named = model or recipe or start
    if budget is None or named or is_set or not isinstance(data, str | Path) or "data.image_size" in keys:
        return None
    found = []
    for size, side in (*((size, None) for size in PUBLISHED_SIZES), _LARGEST):
        own = {**settings, "model.name": "EfficientNetLite", "model.size": size}
        own |= {"data.image_size": side} if side else {}
        config = requested(data, None, None, own, None, seed, device)
        config = with_budget(config, budget, settings, _FREE_PRETRAINED)
        config = config.model_copy(update={"model": models.complete(config.model)})
        weights = published(config.model)
        if isinstance(weights, PackagedWeights) and is_installed(weights):
            found.append(config)
    return found


def _with_own_size(config: RunConfig) -> RunConfig:
    """Return the configuration with the size and the squares that pretrained weights are for, unless it has them."""
    if is_foreign(config.model.name) or not (weights := published(models.complete(config.model))):
        return config
    own = {"image_size": config.data.image_size or weights.image_size, "fit": config.data.fit or weights.fit}
    return config.model_copy(update={"data": config.data.model_copy(update=own)})


def folder_name(dataset: ImageDataset | str, config: RunConfig) -> str:
    """Return the default name of a run or a search of a data set or its name, for every file system."""
    name = dataset if isinstance(dataset, str) else dataset.name
    return re.sub(r"[^\w.-]+", "-", f"{name}-{config.model.name}").strip("-.")


STARTS = ("scratch", "pretrained")
# Size and pixels: more than the network is meant for suits it (docs/experiments.md).
_LARGEST = (PUBLISHED_SIZES[-1], 320)
# What is chosen of a network with pretrained weights.
_FREE_PRETRAINED: tuple[PlannedKey, ...] = ("training.frozen", "augment.horizontal_flip", "views.mirror")
# What is chosen for the images and the time where the user has named neither recipe nor network.
_FREE: tuple[PlannedKey, ...] = (
    "model.widths",
    "training.min_steps",
    "training.averaging_epochs",
    "augment.horizontal_flip",
    "augment.alternate_flips",
    "views.mirror",
)


def with_budget(
    config: RunConfig, budget: str, settings: Mapping[str, Any], planned: tuple[PlannedKey, ...] = ()
) -> RunConfig:
    """Return the configuration with a time to keep to.

    Args:
        config: as it was asked for otherwise.
        budget: such as "10m".
        settings: what the user has set; it is not planned.
        planned: what else is planned, besides the number of epochs and, where none are set, lower resolutions.

    Raises:
        ConfigError: the budget is no time, or the number of epochs is set too.
    """
    if "training.epochs" in settings:
        raise ConfigError("`epochs` and `budget` both say how long to train; give one of them")
    keys: list[PlannedKey] = ["training.epochs", *planned]
    if not config.training.low_resolution:
        keys.append("training.low_resolution")
    keys = [key for key in keys if key not in settings]
    return change(config, {"budget.seconds": parse_duration(budget), "budget.planned": keys}, "`budget`")
