"""kilnet serve: a run as a web page and a JSON API."""

from typing import Annotated

import typer

from kilnet.cli.options import DataDirOption, JsonOption, OwnModelOption, RunArgument
from kilnet.cli.output import print_json, say


def serve(
    run: RunArgument,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen at; the default can be reached from this machine only."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen at; 0 takes a free one.")] = 8000,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a page that takes pictures, and the same as a JSON API, until Ctrl-C."""
    import kilnet

    def started(url: str) -> None:
        if as_json:
            print_json({"url": url})
        else:
            say(f"{url}  (Ctrl-C ends it)")

    kilnet.serve(
        run, host=host, port=port, model=model, data_dir=data_dir, started=started, progress=not as_json
    )
