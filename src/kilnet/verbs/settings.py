"""Every setting of a run, read from the configuration's classes and the networks' signatures."""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from kilnet.config import RunConfig

# Read as text: importing the networks would import torch.
_NETWORKS = sorted(Path(__file__).parents[1].glob("models/*net.py"))
_SECTION = re.compile(r"^ *(?:Attributes|Args):\n(.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^([a-z]\w*(?:, \w+)*): (.*?)(?=^[a-z]\w*(?:, \w+)*: |\Z)", re.MULTILINE | re.DOTALL)
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
_TYPES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        key: dotted name, as in `settings={"optimizer.lr": 0.01}`.
        values: what it may be, in words.
        default: as in a recipe, None where it is unset.
        meaning: what it does.
        network: which network has it; None for a setting of every run.
    """

    key: str
    values: str
    default: Any
    meaning: str
    network: str | None = None


def list_settings(word: str = "") -> tuple[Setting, ...]:
    """Return the settings of a run and of each network, in the order of the configuration.

    Args:
        word: only those with this word in their key or meaning, in any case.
    """
    word = word.lower()
    return tuple(s for s in (*_of_runs(RunConfig), *_of_networks()) if word in f"{s.key} {s.meaning}".lower())


def _of_runs(part: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    meanings = _meanings(part.__doc__ or "")
    schema = part.model_json_schema()["properties"]
    for name, field in part.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _of_runs(field.annotation, f"{name}.")
        else:
            values = _values(schema[name])
            yield Setting(f"{prefix}{name}", values, default=field.default, meaning=meanings[name])


def _values(schema: dict[str, Any]) -> str:
    """Return the values that a JSON schema allows, in words."""
    if "anyOf" in schema:
        return ", or ".join("unset" if s == {"type": "null"} else _values(s) for s in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if schema["type"] == "array":
        items = schema["items"]
        if "prefixItems" in items:
            return "list of pairs of numbers"
        return f"list of {_values(items)}" + ("" if "enum" in items else "s")
    bounds = [text.format(f"{schema[name]:g}") for name, text in _BOUNDS.items() if name in schema]
    return " ".join([_TYPES[schema["type"]], " and ".join(bounds)]).strip()


def _of_networks() -> Iterator[Setting]:
    for path in _NETWORKS:
        for network in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(network, ast.ClassDef) or network.name.startswith("_"):
                continue
            meanings = _meanings(ast.get_docstring(network) or "")
            (maker,) = (f for f in network.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
            for option, default in zip(maker.args.args[1:], maker.args.defaults, strict=True):
                yield Setting(
                    key=f"model.{option.arg}",
                    values=_values(TypeAdapter(_evaluated(option.annotation)).json_schema()),
                    default=_evaluated(default),
                    meaning=meanings[option.arg],
                    network=network.name,
                )


def _evaluated(node: ast.expr | None) -> Any:
    return eval(ast.unparse(node), {"Sequence": Sequence}) if node else None  # noqa: S307 Kilnet's own files


def _meanings(docstring: str) -> dict[str, str]:
    """Return the entries of the Attributes or Args of a docstring, each as one line."""
    section = _SECTION.search(inspect.cleandoc(docstring))
    entries = _ENTRY.findall(inspect.cleandoc(section[1])) if section else []
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}
