"""The library's words for its arguments, put into those of the command line.

The messages of the library write arguments in backticks, as Python does (see `kilnet.errors`). Which words stand for
them is read from the parameters of the commands.
"""

import ast
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Settings that have an option of their own in some commands, but are no arguments in Python.
_OPTIONS_OF_SETTINGS = {
    "data.dir": "data_dir",
    "data.image_size": "image_size",
    "data.on_bad_image": "on_bad_image",
    "data.root": "root",
    "data.columns": "columns",
    "data.group": "group",
    "data.corrections": "corrections",
}
# All other commands are called as in Python.
_COMMANDS = {"inspect_data": "data", "list_recipes": "recipes", "list_settings": "settings"}
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_SPAN = re.compile(rf"`((?:{_QUOTED}|[^`'\"])*)`")
_ARGUMENT = re.compile(r"([a-z][\w.]*)(?:=(.*))?", re.DOTALL)
_CLAUSE = re.compile(rf"((?:`(?:{_QUOTED}|[^`'\"])*`|[^;]|;(?! ))*)(?:; )?")


def translated(message: str, commands: Mapping[str, Any], verb: str) -> str:
    """Return a message of the library in the words of a command.

    Advice, which is what follows a semicolon, is left out where it names an option that the command lacks.

    Args:
        commands: of the program, by name.
        verb: the one that was called.
    """
    fact, *advice = _CLAUSE.findall(message)[:-1] or [""]
    clauses = [_worded(fact, commands, verb) or fact]
    clauses += [words for clause in advice if (words := _worded(clause, commands, verb)) is not None]
    return "; ".join(clauses)


def _worded(clause: str, commands: Mapping[str, Any], verb: str) -> str | None:
    """Return a clause in the words of a command, or None where the command has none for an argument in it."""
    told, end = "", 0
    for match in _SPAN.finditer(clause):
        words = _span(match[1], commands, verb)
        if words is None:
            return None
        told += clause[end : match.start()]
        end = match.end()
        told += words.strip("`") if told.endswith(": ") else words  # a command at the end, to be copied
    return told + clause[end:]


def _span(text: str, commands: Mapping[str, Any], verb: str) -> str | None:
    if text.startswith("kilnet.") and text.endswith(")"):
        return f"`{_call(ast.parse(text, mode='eval').body, commands)}`"
    match = _ARGUMENT.fullmatch(text)
    if match is None or not is_known(match[1], commands):
        return f"`{text}`"
    return _option(match[1], match[2], commands[verb].params)


def setting_meant(option: str, words: Sequence[str], parameters: Iterable[Any]) -> str | None:
    """Return how to set what was taken for an option, such as `use --set optimizer.lr=0.1` for `--lr 0.1`.

    Args:
        option: that the command does not have.
        words: of the command line behind the verb.
        parameters: of the command.

    Returns:
        None where the command sets nothing, or no setting has this name.
    """
    if not any(parameter.name == "settings" for parameter in parameters):
        return None
    from kilnet.verbs.keys import candidates  # not for --help

    keys = candidates(option.lstrip("-").replace("-", "_"))
    if not keys:
        return None
    if len(keys) > 1:
        return f"use --set with one of {', '.join(keys)}"
    given = next((word.partition("=")[2] for word in words if word.startswith(f"{option}=")), "")
    place = words.index(option) + 1 if option in words else len(words)
    if not given and place < len(words) and not words[place].startswith("--"):
        given = words[place]
    return f"use --set {shlex.quote(f'{keys[0]}={given}')}" if given else f"use --set {keys[0]}=VALUE"


def is_known(key: str, commands: Mapping[str, Any]) -> bool:
    """Whether it is an argument of some command, or a setting."""
    from kilnet.config import RunConfig  # not for --help

    group = key.partition(".")[0]
    if group != key:
        return group == "model" or key in RunConfig().flat()
    return any(key == parameter.name for command in commands.values() for parameter in command.params)


def _option(key: str, value: str | None, parameters: Iterable[Any]) -> str | None:
    by_name = {parameter.name: parameter for parameter in parameters}
    parameter = by_name.get(_OPTIONS_OF_SETTINGS.get(key, key))
    if parameter is None:
        if "settings" not in by_name or "." not in key:
            return None
        return "--set " + (key if value is None else shlex.quote(f"{key}={_plain(value)}"))
    if parameter.param_type_name == "argument":
        return str(parameter.metavar) if value is None else shlex.quote(_plain(value))
    if value == "False":
        return str(parameter.secondary_opts[0])
    return str(parameter.opts[0]) + ("" if value in (None, "True") else f" {shlex.quote(_plain(value))}")


def _call(call: Any, commands: Mapping[str, Any]) -> str:
    verb = _COMMANDS.get(call.func.attr, call.func.attr)
    words = [shlex.quote(_plain(ast.unparse(argument))) for argument in call.args]
    given: list[tuple[str, Any]] = []
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Dict):  # of settings, each of which has an option of its own
            names = (_plain(ast.unparse(name)) for name in keyword.value.keys if name is not None)
            given += zip(names, keyword.value.values, strict=True)
        else:
            given.append((keyword.arg or "", keyword.value))
    words += [str(_option(name, ast.unparse(value), commands[verb].params)) for name, value in given]
    return " ".join(["kilnet", verb, *words])


def _plain(value: str) -> str:
    """Return a value without the quotes of Python."""
    try:
        read = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value
    return read if isinstance(read, str) else value
