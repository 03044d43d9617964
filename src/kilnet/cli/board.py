"""kilnet board."""

from kilnet.cli.options import HostOption, JsonOption, PortOption, RunsFolderArgument
from kilnet.cli.output import say_address


def board(
    folder: RunsFolderArgument = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8001,
    as_json: JsonOption = False,
) -> None:
    """Show runs and searches on a page that follows, compares and deletes them, until Ctrl-C."""
    import kilnet

    kilnet.board(folder, host=host, port=port, started=say_address(as_json), progress=not as_json)
