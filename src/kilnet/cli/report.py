"""kilnet report."""

from pathlib import Path
from typing import Annotated

import typer

from kilnet.cli.options import DataDirOption, JsonOption, OwnModelOption
from kilnet.cli.output import print_json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Where the run's folder of pictures lies now, if it has moved."),
    ] = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write report.html: the whole run on one page, in one file that opens without a network."""
    import kilnet

    path = kilnet.report(run, data=data, data_dir=data_dir, model=model, progress=not as_json)
    num_bytes = path.stat().st_size
    if as_json:
        print_json({"report": str(path), "num_bytes": num_bytes})
    else:
        typer.echo(f"{path}, {num_bytes / 1e6:.1f} MB: open it in a browser")
