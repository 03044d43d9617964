"""kilnet promote."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from kilnet.cli import completion
from kilnet.cli.options import JsonOption
from kilnet.cli.output import print_json, say, say_next


def promote(
    search: Annotated[
        Path, Argument(metavar="SEARCH", help="A search folder.", autocompletion=completion.runs)
    ],
    trial: Annotated[int, Argument(metavar="TRIAL", help="Its number.")],
    out: Annotated[Path | None, Option("--out", help="Run folder; default: a name in runs/.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a trial out of a search as a run of its own."""
    import kilnet

    folder = kilnet.promote(search, trial, out)
    if as_json:
        print_json({"run": str(folder)})
    else:
        say(f"trial {trial} is now {folder}")
        say_next("kilnet", "evaluate", folder, "--split", "val")
