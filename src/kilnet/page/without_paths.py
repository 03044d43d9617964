"""Text of a run without what it says about the disk and the user of the machine; a page is sent to other people."""

import re
from collections.abc import Mapping
from typing import Any

from kilnet.config import RunConfig
from kilnet.data.sources import NAMES

# From a root, a drive or a home folder, through folders, to a last name; a quote or white space ends it.
_PATH = re.compile(
    r"""(?<![\w.:/\\<])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\s"'`;,:()]+[/\\])+(?P<last>[^/\\\s"'`;,:()]*)|~[/\\](?P<home>[^/\\\s"'`;,:()]*)"""
)
_QUOTED = re.compile(r"""(["'])(?:~|[A-Za-z]:)?[/\\](?:[^/\\"'\n]+[/\\])*([^/\\"'\n]*)\1""")


def without_paths(text: str) -> str:
    """Return text whose absolute paths have lost all but their last name."""
    text = _QUOTED.sub(lambda found: f"{found[1]}{found[2]}{found[1]}", text)
    return _PATH.sub(lambda found: found["last"] or found["home"] or "…", text)


def config_without_paths(config: RunConfig) -> RunConfig:
    """Return a configuration that names its folders and files by their last names."""
    data = config.data
    places = {
        "source": data.source,
        "dir": data.dir,
        "root": data.root,
        "corrections": data.corrections,
    }
    names = {key: last_name(path) for key, path in places.items() if path is not None and path not in NAMES}
    texts = {key: without_paths(text) for key, text in config.model.options.items() if isinstance(text, str)}
    parts = {"data": data.model_copy(update=names), "model": config.model.model_copy(update=texts)}
    parent = None if config.parent is None else without_paths(config.parent)
    return config.model_copy(update={**parts, "parent": parent})


def environment_without_paths(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what environment.json says, its text without paths."""
    return {key: _cleaned(value) for key, value in environment.items()}


def last_name(path: str) -> str:
    """Return the last name in a path of any system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "data"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, Mapping):
        return {key: _cleaned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return value
