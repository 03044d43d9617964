"""kilnet data, kilnet doctor: what is there before anything is trained."""

import typer

from kilnet.cli.options import DataArgument, DataDirOption, ImageSizeOption, JsonOption, given
from kilnet.cli.output import print_json


def show_data(
    data: DataArgument,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a data set: counts, sizes, unusable files, duplicates."""
    from dataclasses import asdict

    import kilnet

    options = given({"data.dir": data_dir, "data.image_size": image_size})
    inventory = kilnet.inspect_data(data, settings=options, progress=not as_json)
    if as_json:
        print_json(asdict(inventory))
    else:
        kilnet.show(inventory)


def doctor(as_json: JsonOption = False) -> None:
    """Show the environment, what is measured on it, and what is wrong with it."""
    from dataclasses import asdict

    from kilnet.doctor import examine

    diagnosis = examine()
    if as_json:
        print_json(asdict(diagnosis))
    else:
        for name, fact in diagnosis.facts.items():
            typer.echo(f"{name:14} {fact}")
        for problem in diagnosis.problems:
            typer.echo(f"problem: {problem}")
        typer.echo(f"{len(diagnosis.problems)} problems" if diagnosis.problems else "nothing is wrong")
    if diagnosis.problems:
        raise typer.Exit(1)
