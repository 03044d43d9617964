"""kilnet serve: a run as a web page and a JSON API."""

from kilnet.cli.options import (
    DataDirOption,
    HostOption,
    JsonOption,
    OwnModelOption,
    PortOption,
    RunArgument,
)
from kilnet.cli.output import say_address


def serve(
    run: RunArgument,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a page that takes pictures, and the same as a JSON API, until Ctrl-C."""
    import kilnet

    kilnet.serve(
        run,
        host=host,
        port=port,
        model=model,
        data_dir=data_dir,
        started=say_address(as_json),
        progress=not as_json,
    )
