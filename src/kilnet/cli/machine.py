"""kilnet data, kilnet doctor: what is there before anything is trained."""

import typer

from kilnet.cli.options import DataArgument, DataDirOption, ImageSizeOption, JsonOption, given
from kilnet.cli.output import print_json, print_rich


def show_data(
    data: DataArgument,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a data set: counts, sizes, unusable files, duplicates."""
    from dataclasses import asdict

    from kilnet.config import load_config
    from kilnet.data.inventory import inspect_data
    from kilnet.reporting.inventory import inventory_report
    from kilnet.reporting.progress import ProgressDisplay

    options = given({"data.source": data, "data.dir": data_dir, "data.image_size": image_size})
    with ProgressDisplay(enabled=not as_json) as display:
        inventory = inspect_data(load_config(settings=options).data, display.advance)
    if as_json:
        print_json(asdict(inventory))
    else:
        print_rich(inventory_report(inventory))


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
