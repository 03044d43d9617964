"""kilnet review: a page on which a person puts labels right."""

from pathlib import Path
from typing import Annotated

import typer

from kilnet.cli.options import (
    DataDirOption,
    HostOption,
    JsonOption,
    MovedDataOption,
    OwnModelOption,
    PortOption,
    RunArgument,
)
from kilnet.cli.output import say, say_address
from kilnet.runs.wording import WORDS, counted


def review(
    run: RunArgument,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            "--unlabelled",
            metavar="FOLDER",
            help="Show which pictures of this folder to label next, instead.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="How many of that folder.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Table of answers; default: corrections.csv in the run folder."
        ),
    ] = None,
    num_folds: Annotated[
        int | None,
        typer.Option(
            "--folds", metavar="K", help="Judge the training labels better, by K more trainings; resumes."
        ),
    ] = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8002,
    data: MovedDataOption = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a page of suspicious pictures, on which a person puts labels right, until Ctrl-C."""
    import kilnet

    found = kilnet.review(
        run,
        unlabelled=unlabelled,
        count=count,
        out=out,
        num_folds=num_folds,
        host=host,
        port=port,
        data=data,
        data_dir=data_dir,
        model=model,
        started=say_address(as_json, "answers are saved as they come; Ctrl-C ends it"),
        progress=not as_json,
    )
    if as_json:
        return
    told = ", ".join(f"{verdict} {number:,}" for verdict, number in sorted(found.counts.items()))
    say(f"{counted(sum(found.counts.values()), 'answer')} in {found.file}" + (f": {told}" if told else ""))
    if found.next_call and found.counts:
        say(WORDS.get()(f"next: `{found.next_call}`"))
