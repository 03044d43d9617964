"""Tables in tables, by dotted key."""

from collections.abc import Iterator, Mapping
from typing import Any


def by_dotted_key(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that is no table with its key: `{"a": {"b": 1}}` has `("a.b", 1)`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from by_dotted_key(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
