"""Whatever the caller calls data, as images in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilnet.config import FAST_RECIPE, DataConfig, PlannedKey, RunConfig, change, load_config, parse_duration
from kilnet.data import inventory
from kilnet.data.adopt import PairDataset, adopt_dataset
from kilnet.data.dataset import ImageDataset
from kilnet.data.inventory import Inventory
from kilnet.data.sources import NAMES, load_dataset
from kilnet.errors import ConfigError
from kilnet.terminal.progress import ProgressDisplay

Data = str | Path | ImageDataset | PairDataset


def inspect_data(
    data: Data = "cifar10", *, settings: Mapping[str, Any] | None = None, progress: bool = True
) -> Inventory:
    """Take stock of a data set: counts, sizes, unusable files, duplicates; all splits are counted, none is judged.

    Args:
        data: as for `train`.
        settings: values by dotted key, such as {"data.image_size": 32}.
        progress: whether to show progress on standard error.

    Raises:
        KilnetError: see `kilnet.errors`; unusable files and classes that are too small are listed, not refused.
    """
    config = requested(data, None, None, settings, None, None, None)
    with ProgressDisplay(enabled=progress) as display:
        if isinstance(data, str | Path):
            return inventory.inspect_data(config.data, display.advance)
        return inventory.of_dataset(in_memory(data, config.data, display))


def requested(
    data: Data,
    model: str | None,
    recipe: str | Path | None,
    settings: Mapping[str, Any] | None,
    epochs: int | None,
    seed: int | None,
    device: str | None,
    budget: str | None = None,
) -> RunConfig:
    """Return the configuration that a verb was asked for: defaults < recipe < settings < named arguments.

    With a budget, where neither recipe nor network is named, the fast recipe is the one.

    Raises:
        ConfigError: as in `load_config`.
    """
    named = {
        "data.source": str(data) if isinstance(data, str | Path) else type(data).__name__,
        "model.name": model,
        "training.epochs": epochs,
        "seed": seed,
        "hardware.device": device,
    }
    settings = {**(settings or {}), **{key: value for key, value in named.items() if value is not None}}
    is_free = budget is not None and recipe is None and "model.name" not in settings
    recipe = FAST_RECIPE if is_free else recipe
    config = load_config(Path(recipe) if recipe is not None else None, settings)
    if budget is not None:
        config = with_budget(config, budget, settings, _FREE if is_free else ())
    return config.model_copy(update={"data": located(config.data)})


# What is chosen for the images and the time where the user has named neither recipe nor network.
_FREE: tuple[PlannedKey, ...] = (
    "model.widths",
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
        planned: what else is, besides the number of epochs and, where there are none yet, lower resolutions.

    Raises:
        ConfigError: the budget is no time, or the number of epochs is set too.
    """
    if "training.epochs" in settings:
        raise ConfigError("--epochs and --budget both say how long to train; give one of them")
    keys: list[PlannedKey] = ["training.epochs", *planned]
    if not config.training.low_resolution:
        keys.append("training.low_resolution")
    keys = [key for key in keys if key not in settings]
    return change(config, {"budget.seconds": parse_duration(budget), "budget.planned": keys}, "--budget")


def in_memory(data: Data, config: DataConfig, display: ProgressDisplay) -> ImageDataset:
    """Load or read into memory what a verb was given, showing how far that is."""
    if isinstance(data, ImageDataset):
        return data
    if isinstance(data, str | Path):
        return load_dataset(config, display.advance)
    return adopt_dataset(data, config=config)


def located(config: DataConfig) -> DataConfig:
    """Write a folder's whole path down, so that the run can be repeated from anywhere."""
    if Path(config.source).expanduser().is_dir() and config.source not in NAMES:
        return config.model_copy(update={"source": str(Path(config.source).expanduser().resolve())})
    return config


def warn(dataset: ImageDataset, display: ProgressDisplay) -> None:
    """Show what the user should know of a data set: a foreign checksum, files that were skipped."""
    for warning in dataset.warnings:
        display.say(f"warning: {warning}")
