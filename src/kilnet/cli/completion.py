"""What a shell offers where Tab is pressed: names that Kilnet knows, and folders of runs and searches."""

from collections.abc import Iterator
from pathlib import Path

_MAX_FOLDERS = 1000


def settings(incomplete: str) -> list[str]:
    """Return the settings that begin so, or whose last part does, each with its equals sign."""
    from kilnet.verbs.settings import list_settings

    keys = dict.fromkeys(setting.key for setting in list_settings())
    found = [key for key in keys if key.startswith(incomplete)]
    found = found or [key for key in keys if key.rpartition(".")[2].startswith(incomplete)]
    return [f"{key}=" for key in found]


def recipes(incomplete: str) -> list[str]:
    """Return the recipes that begin so."""
    return _named("recipe", incomplete)


def spaces(incomplete: str) -> list[str]:
    """Return the spaces that begin so, and settings."""
    return [*_named("space", incomplete), *settings(incomplete)]


def recipes_and_spaces(incomplete: str) -> list[str]:
    """Return the recipes and spaces that begin so."""
    return [*_named("recipe", incomplete), *_named("space", incomplete)]


def data(incomplete: str) -> list[str]:
    """Return the data sets and folders that begin so."""
    names = [name for name in ("cifar10", "digits") if name.startswith(incomplete)]
    return [*names, *(f"{path}/" for path in _folders(incomplete))]


def models(incomplete: str) -> list[str]:
    """Return the networks that begin so, in any case."""
    names = ("ConvNet", "ConfigNet", "ResNet", "FastNet", "EfficientNetLite")
    return [name for name in names if name.lower().startswith(incomplete.lower())]


def runs(incomplete: str) -> list[str]:
    """Return the runs and searches that begin so, and folders that may hold some; without a word, the usual ones."""
    found = [path for path in _folders(incomplete) if not _is_run(path)]
    places = [Path("runs"), Path("searches")] if not incomplete else []
    there = [path for place in places for path in _folders(f"{place}/") if _is_run(path)]
    there += [path for path in _folders(incomplete) if _is_run(path)]
    return [*map(str, there), *(f"{path}/" for path in found)]


def _is_run(path: Path) -> bool:
    from kilnet.runs.listing import CONFIG, SEARCH

    return any((path / mark).is_file() for mark in (CONFIG, SEARCH))


def _folders(incomplete: str) -> Iterator[Path]:
    """Yield the folders whose path begins so, as it was written."""
    place, name = Path(incomplete), ""
    if not incomplete.endswith("/"):
        place, name = place.parent, place.name if incomplete else ""
    try:
        entries = sorted(place.iterdir())[:_MAX_FOLDERS]
    except OSError:
        return
    for path in entries:
        hidden = path.name.startswith(".") and not name.startswith(".")
        if path.name.startswith(name) and not hidden and path.is_dir():
            yield path


def _named(kind: str, incomplete: str) -> list[str]:
    from kilnet.recipes.built_in import list_recipes

    return [one.name for one in list_recipes() if one.kind == kind and one.name.startswith(incomplete)]
