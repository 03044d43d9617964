"""kilnet settings."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from kilnet.cli.options import JsonOption
from kilnet.cli.output import print_json, say, say_next
from kilnet.runs.wording import counted


def settings(
    word: Annotated[
        str, typer.Argument(metavar="WORD", help="Only settings with this word in their key or meaning.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List all settings: key, default, what is allowed, and what it means."""
    from kilnet.errors import InputError
    from kilnet.verbs.settings import list_settings

    found = list_settings(word)
    if not found:
        raise InputError(f"no setting has {word!r} in its key or meaning; `kilnet.list_settings()` lists all")
    if as_json:
        print_json({"settings": [asdict(setting) for setting in found]})
        return
    for setting in found:
        default = "unset" if setting.default is None else json.dumps(setting.default)
        owner = f" of {setting.network}" if setting.network else ""
        say(f"{setting.key}{owner} = {default}  ({setting.values})")
        say(f"    {setting.meaning}")
    first = found[0]
    if not word:
        say(f"{counted(len(found), 'setting')}; a word finds some of them")
        say_next("kilnet", "settings", "augment")
    elif first.default is not None and first.key.partition(".")[0] not in ("budget", "data"):
        example = f"{first.key}={json.dumps(first.default)}"
        network = ["--model", first.network] if first.network else []
        say_next("kilnet", "train", "digits", *network, "--set", example)
