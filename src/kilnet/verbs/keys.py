"""The last part of a setting's name stands for the whole, where only one setting ends so."""

from collections.abc import Mapping
from typing import Any

from kilnet.config import RunConfig
from kilnet.errors import ConfigError
from kilnet.verbs.settings import list_settings


def candidates(word: str) -> list[str]:
    """Return the settings, of runs and of all networks, whose last part is `word`, or which are called so."""
    keys = dict.fromkeys(setting.key for setting in list_settings())
    return [key for key in keys if word in (key, key.rpartition(".")[2])]


def with_whole_keys(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings by their whole dotted keys: `lr` is `optimizer.lr`.

    Keys with a dot, those that name a whole group, and those that no setting ends with stay as they are.

    Args:
        settings: values by key.
        where: what they come from, for the message.

    Raises:
        ConfigError: several settings end so, or the same one is given twice.
    """
    whole: dict[str, Any] = {}
    for key, value in settings.items():
        meant = [key] if "." in key or key in RunConfig.model_fields else candidates(key) or [key]
        if len(meant) > 1:
            raise ConfigError(f"{where}: {key} may be {' or '.join(meant)}; write the whole name")
        if meant[0] in whole:
            raise ConfigError(f"{where}: {meant[0]} is there twice, as {key} too")
        whole[meant[0]] = value
    return whole
