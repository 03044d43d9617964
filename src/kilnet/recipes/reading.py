"""From what people write to a configuration: recipe files, settings as key=value, times such as 10m."""

import codecs
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilnet.config import RunConfig
from kilnet.errors import ConfigError
from kilnet.recipes.built_in import find
from kilnet.recipes.changes import configured
from kilnet.storage import read_bytes

MAX_TOML_BYTES = 1 << 20
MAX_KEY_PARTS = 64  # of a dotted key of TOML; the time to read one grows with their square
_KEY_PART = r"""(?:(?<![\w-])[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rf"(?:{_KEY_PART}[ \t]*\.[ \t]*){{{MAX_KEY_PARTS}}}")


def load_config(recipe: str | Path | None = None, settings: Mapping[str, Any] | None = None) -> RunConfig:
    """Build a configuration from the defaults, a recipe and settings by dotted key.

    Args:
        recipe: TOML file with any of the keys, or the name of one that comes with Kilnet.
        settings: values by dotted key; they win over the recipe. `augment = "tutorial"` or `"none"` in either
            place stands for a whole preset, which single keys then change.

    Raises:
        ConfigError: there is no such recipe, the file cannot be read, a key is unknown (the nearest right one is
            named) or a value is not allowed.
    """
    if recipe is None:
        return configured({}, settings or {}, "the settings")
    where = f"{recipe} or the settings" if settings else str(recipe)
    return configured(read_toml(find(recipe)), settings or {}, where)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        return tables_in(path)
    except (OSError, UnicodeDecodeError, MemoryError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def tables_in(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raises OSError or ValueError where it cannot be read, or is none."""
    return parse_toml(as_text(read_bytes(path, MAX_TOML_BYTES)))


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of TOML; raises ValueError where it is none, or nested deeper than anybody writes by hand."""
    if _LONG_KEY.search(text):
        raise ValueError(f"a key of more than {MAX_KEY_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def as_text(content: bytes) -> str:
    """Return the text of a file that people write: UTF-8, or what the byte order mark of a Windows editor says.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's > writes so
    return content.decode("utf-16" if is_wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def parse_value(text: str) -> Any:
    """Read a word as a TOML value, else take it as text."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except (ValueError, KeyError):
        return text


def parse_settings(assignments: list[str]) -> dict[str, Any]:
    """Turn `key=value` words into settings; values are read as TOML, else taken as text.

    Raises:
        ConfigError: a word has no `=`.
    """
    settings = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{assignment!r}: write a setting as key=value, for example optimizer.lr=0.001")
        settings[key.strip()] = parse_value(text.strip())
    return settings


def parse_duration(text: str, name: str = "budget") -> float:
    """Return the seconds of a time written with units: 90s, 10m, 1.5h, 1h30m.

    Args:
        name: of the argument, for the message.

    Raises:
        ConfigError: it is no such time, or none at all.
    """
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", text.strip())
    try:
        parts = [float(part or 0) for part in match.groups()] if match else []
    except ValueError:  # 1.2.3s
        parts = []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not seconds:
        raise ConfigError(f"`{name}={text!r}`: write a time with its unit, for example 90s, 10m or 1h30m")
    return seconds


def written_duration(seconds: float) -> str:
    """Return whole seconds as `parse_duration` reads them: 45s, 10m, 1h30m."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n)
