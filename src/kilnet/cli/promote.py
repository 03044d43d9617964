"""kilnet promote."""

from pathlib import Path
from typing import Annotated

import typer

from kilnet.cli.options import JsonOption
from kilnet.cli.output import print_json

SearchArgument = Annotated[Path, typer.Argument(metavar="SEARCH", help="A search folder.")]


def promote(
    search: SearchArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Its number.")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder; default: a name in runs/.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a trial out of a search as a run of its own."""
    import kilnet

    folder = kilnet.promote(search, trial, out)
    if as_json:
        print_json({"run": str(folder)})
    else:
        typer.echo(f"next: kilnet evaluate {folder} --split val")
