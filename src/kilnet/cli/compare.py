"""kilnet compare."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from kilnet.cli.options import DataDirOption, JsonOption, MovedDataOption, OwnModelOption
from kilnet.cli.output import print_json, say_next


def compare(
    first: Annotated[Path, Argument(metavar="RUN", help="A run folder.")],
    second: Annotated[Path, Argument(metavar="RUN", help="Another, of the same data.")],
    split: Annotated[
        str, Option("--split", help="val (default), train, or test, whose reading is recorded.")
    ] = "val",
    data: MovedDataOption = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what two runs differ in: settings, accuracy with a paired test, single images."""
    import kilnet

    found = kilnet.compare(
        first, second, split, data=data, data_dir=data_dir, model=model, progress=not as_json
    )
    if as_json:
        print_json(found.to_dict())
    else:
        kilnet.show(found)
        better = second if found.outcome.difference > 0 else first
        say_next("kilnet", "report", better, *(["--model", model] if model else []))
