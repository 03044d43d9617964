"""kilnet data."""

from kilnet.cli.options import DataArgument, DataDirOption, ImageSizeOption, JsonOption, chosen
from kilnet.cli.output import print_json, say_next


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
        size = ["--image-size", str(image_size)] if image_size else []
        place = ["--data-dir", data_dir] if data_dir else []
        say_next("kilnet", "train", source, "--budget", "10m", *place, *size)
