"""A configuration from values by dotted key, changed, and compared with another."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from kilnet.config import RunConfig
from kilnet.errors import ConfigError, nearest


def change(config: RunConfig, settings: Mapping[str, Any], where: str) -> RunConfig:
    """Return the configuration with other values for some dotted keys, checked again.

    Args:
        where: what the settings come from, for the message.

    Raises:
        ConfigError: as in `configured`.
    """
    return configured(config.model_dump(exclude_none=True), settings, where)


def configured(tree: dict[str, Any], settings: Mapping[str, Any], where: str) -> RunConfig:
    """Return the configuration of a tree of values, as TOML has it, and of settings by dotted key, which win.

    Args:
        tree: is changed.
        where: what both come from, for the message.

    Raises:
        ConfigError: a key is unknown (the nearest right one is named) or a value is not allowed.
    """
    _expand_preset(tree, where)
    for key, value in settings.items():
        _put(tree, key, value)
        _expand_preset(tree, key)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, where)) from None


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Return one line per key in which two configurations differ: `key: old -> new`.

    What "auto" was measured to be, what both leave to the same plan, and where the data lies, are not differences.
    """
    before, after = old.flat(), new.flat()
    ignored = {
        "data.dir",
        "data.root",
        "data.near_duplicates",
        "data.channels",
        "training.checkpoint_seconds",
    }
    if old.budget == new.budget:
        ignored |= set(new.budget.planned)
    lines = []
    for key in sorted((before.keys() | after.keys()) - ignored):
        was, now = before.get(key), after.get(key)
        if was != now and not (key.startswith("hardware.") and now in ("auto", 0)):
            lines.append(f"{key}: {was} -> {now}")
    return lines


_PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    # The tutorial's RandomRotation(20), ColorJitter(brightness=0.2, hue=0.1), RandomHorizontalFlip(0.5).
    "tutorial": {"rotation": 20.0, "brightness": 0.2, "hue": 0.1, "horizontal_flip": 0.5, "fill": "black"},
}


def _expand_preset(tree: dict[str, Any], where: str) -> None:
    name = tree.get("augment")
    if isinstance(name, str):
        if name not in _PRESETS:
            raise ConfigError(f"{where}: no augment preset {name!r}; there are {', '.join(_PRESETS)}")
        tree["augment"] = dict(_PRESETS[name])
    elif isinstance(name, dict) and "preset" in name:
        rest = {key: value for key, value in name.items() if key != "preset"}
        tree["augment"] = str(name["preset"])
        _expand_preset(tree, where)
        tree["augment"].update(rest)


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{key}: {parent} is a value, not a group of keys")
    if value is None:
        tree.pop(last, None)
    else:
        tree[last] = value


def _explain(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith("constrained"))
    if first["type"] == "extra_forbidden":
        groups = [name for name, part in RunConfig() if isinstance(part, BaseModel)]
        known = [*RunConfig().flat(), *groups] if "." not in key else list(RunConfig().flat())
        near = nearest(key, known)
        if near.startswith("; there are"):
            near = "; there are optimizer.lr, training.epochs and others; `kilnet.list_settings()` lists all"
        return f"{where}: unknown key {key}{near}"
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {key}: {reason}"
    return f"{where}: {key} = {first['input']!r}: {reason[0].lower()}{reason[1:]}"
