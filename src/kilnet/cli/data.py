"""kilnet data."""

from kilnet.cli.options import DataArgument, DataDirOption, ImageSizeOption, JsonOption, chosen
from kilnet.cli.output import print_json


def data(
    source: DataArgument,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a data set: counts, sizes, unusable files, duplicates."""
    from dataclasses import asdict

    import kilnet

    settings = chosen(None, data_dir, image_size)
    inventory = kilnet.inspect_data(source, settings=settings, progress=not as_json)
    if as_json:
        print_json(asdict(inventory))
    else:
        kilnet.show(inventory)
