"""What a training is to be good at, as settings."""

from collections.abc import Mapping
from typing import Any

from kilnet.errors import ConfigError, nearest
from kilnet.verbs.keys import with_whole_keys

OPTIMISED: dict[str, dict[str, Any]] = {
    "accuracy": {"training.select": "accuracy"},
    "macro-recall": {"training.balance": "sampling", "training.select": "macro-recall"},
}
"""What suits each aim: settings by dotted key."""


def with_aim(settings: Mapping[str, Any] | None, optimise: str | None) -> dict[str, Any]:
    """Return settings with those that suit what is to be optimised; the caller's own win.

    Raises:
        ConfigError: nothing is known of such an aim.
    """
    if optimise is None:
        return dict(settings or {})
    if optimise not in OPTIMISED:
        raise ConfigError(
            f"`optimise={optimise!r}`: there are {', '.join(OPTIMISED)}{nearest(optimise, list(OPTIMISED))}"
        )
    return {**OPTIMISED[optimise], **with_whole_keys(settings or {}, "the settings")}
