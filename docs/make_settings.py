"""Writes docs/settings.md from the configuration's classes and the networks' signatures: `make docs`."""

import json
from itertools import groupby
from pathlib import Path

from kilnet.verbs.settings import Setting, list_settings

PAGE = Path(__file__).with_name("settings.md")
_HEAD = """\
# Settings

*Made by `make docs` from the code; changes made here are lost.*

Every setting has a dotted name and a default. On the command line it is `--set optimizer.lr=0.01`, in Python
`settings={"optimizer.lr": 0.01}`, in a recipe `lr = 0.01` below `[optimizer]`. `kilnet settings WORD` searches this
list, and `kilnet recipes` lists the recipes that come with Kilnet.
"""


def page() -> str:
    """Return docs/settings.md: one section per group, and one per network."""
    sections = [_HEAD]
    for title, settings in groupby(list_settings(), _title):
        rows = "".join(map(_row, settings))
        sections.append(f"## {title}\n\n| Setting | Default | Values | Meaning |\n|---|---|---|---|\n{rows}")
    return "\n".join(sections)


def _title(setting: Setting) -> str:
    group = setting.key.rpartition(".")[0]
    return f"model, for {setting.network}" if setting.network else group or "The run"


def _row(setting: Setting) -> str:
    default = "unset" if setting.default is None else f"`{json.dumps(setting.default)}`"
    values = setting.values.replace(" | ", ", ")
    return f"| `{setting.key}` | {default} | {values} | {setting.meaning.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
