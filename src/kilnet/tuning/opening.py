"""Beginning a search in a folder, or going on with the one that is there."""

import platform
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from kilnet import hardware
from kilnet.config import differences
from kilnet.data.dataset import ImageDataset
from kilnet.errors import RunFolderError
from kilnet.storage import first_fitting
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.search_folder import SearchFolder

# The cohort may follow from the number of workers, which is free; the others are compared key by key.
_APART = {"cohort", "run", "space"}


def open_search(
    path: Path, config: SearchConfig, dataset: ImageDataset, decide: Callable[[SearchConfig], SearchConfig]
) -> SearchFolder:
    """Return the folder of a search, begun here if there is none.

    Args:
        path: of the folder.
        config: what is asked for.
        dataset: what its trials train on.
        decide: settles what is open in the configuration of a new search; an older one keeps what was decided then.

    Raises:
        RunFolderError: the folder holds another search, or this one on other data.
    """
    folder = SearchFolder(path)
    with folder.locked():
        if not folder.exists:
            folder.begin(decide(config), _environment(dataset))
            return folder
        if lines := differing(folder.config(), config):
            raise RunFolderError(
                f"{path} holds another search ({'; '.join(lines)}); choose another --out, or search as it was begun"
            )
        if folder.environment().get("data", {}).get("fingerprint") != dataset.fingerprint:
            raise RunFolderError(
                f"{path}: the data is not what this search was begun with; choose another --out"
            )
    return folder


def differing(old: SearchConfig, new: SearchConfig) -> list[str]:
    """Return one line per key in which two searches differ: `key: old -> new`.

    Spaces are compared by what they mean; the order of their keys stays as the search was begun.
    """
    was, now = old.model_dump(exclude=_APART), new.model_dump(exclude=_APART)
    lines = [f"{key}: {was[key]} -> {now[key]}" for key in was if was[key] != now[key]]
    before, after = ({d.key: d for d in config.parsed_space().dimensions} for config in (old, new))
    lines += [
        f"space {key}: {old.space.get(key)} -> {new.space.get(key)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
    return lines + differences(old.run, new.run)


def free_search_folder(parent: Path, name: str, config: SearchConfig) -> Path:
    """Return where this search belongs: the folder that holds it already, else the first free name."""

    def fits(path: Path) -> bool:
        folder = SearchFolder(path)
        return not folder.exists or not differing(folder.config(), config)

    return first_fitting(parent, name, fits)


def _environment(dataset: ImageDataset) -> dict[str, object]:
    return {
        "kilnet": version("kilnet"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("torch", "numpy", "optuna")},
        "machine": hardware.machine(),
        "data": {
            "name": dataset.name,
            "classes": dataset.classes,
            "image_shape": dataset.image_shape,
            "num_train": len(dataset.train),
            "num_validation": len(dataset.validation),
            "fingerprint": dataset.fingerprint,
        },
        "command": shlex.join(sys.argv),
    }
