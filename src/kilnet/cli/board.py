"""kilnet board."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from kilnet.cli import completion
from kilnet.cli.options import JsonOption
from kilnet.cli.output import print_json, say


def board(
    folder: Annotated[
        Path | None,
        Argument(
            metavar="FOLDER",
            help="Where to look, at any depth; default: runs and searches here.",
            autocompletion=completion.runs,
        ),
    ] = None,
    host: Annotated[
        str,
        Option("--host", help="Address to listen at; the default can be reached from this machine only."),
    ] = "127.0.0.1",
    port: Annotated[int, Option("--port", help="Port to listen at; 0 takes a free one.")] = 8001,
    as_json: JsonOption = False,
) -> None:
    """Show runs and searches on a page that follows, compares and deletes them, until Ctrl-C."""
    import kilnet

    def started(url: str) -> None:
        if as_json:
            print_json({"url": url})
        else:
            say(f"{url}  (Ctrl-C ends it)")

    kilnet.board(folder, host=host, port=port, started=started)
