"""kilnet data."""

from pathlib import Path
from typing import Annotated

from typer import Option

from kilnet.cli.options import (
    ColumnsOption,
    CorrectionsOption,
    DataArgument,
    DataDirOption,
    GroupOption,
    ImageSizeOption,
    JsonOption,
    RootOption,
    chosen,
)
from kilnet.cli.output import print_json, say_next


def data(
    source: DataArgument,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    root: RootOption = None,
    columns: ColumnsOption = None,
    group: GroupOption = None,
    corrections: CorrectionsOption = None,
    write_table: Annotated[
        Path | None,
        Option(
            "--write-table", metavar="FILE", help="Write a table of all pictures and labels, to be edited."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a data set: counts, sizes, unusable files, duplicates."""
    from dataclasses import asdict

    import kilnet

    settings = chosen(
        None, data_dir, image_size, root=root, columns=columns, group=group, corrections=corrections
    )
    inventory = kilnet.inspect_data(source, settings=settings, write_table=write_table, progress=not as_json)
    if as_json:
        print_json(asdict(inventory))
    else:
        kilnet.show(inventory)
        size = ["--image-size", str(image_size)] if image_size else []
        named = {"--data-dir": data_dir, "--root": root, "--columns": columns, "--group": group}
        named["--corrections"] = corrections
        place = [word for option, value in named.items() if value for word in (option, value)]
        say_next("kilnet", "train", source, "--budget", "10m", *place, *size)
