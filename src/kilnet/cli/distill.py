"""kilnet distill."""

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

from typer import Option

from kilnet.cli import options
from kilnet.cli.output import print_json, say, say_next, told_in_detail

if TYPE_CHECKING:
    from kilnet.verbs.distill import Distillation


def distill(
    run: options.RunArgument,
    model: Annotated[
        str, Option("--model", help="The smaller network.", callback=options.reach_own_code)
    ] = "FastNet",
    recipe: options.RecipeOption = None,
    settings: options.SettingsOption = None,
    epochs: options.EpochsOption = None,
    budget: options.BudgetOption = None,
    seed: options.SeedOption = None,
    data: options.MovedDataOption = None,
    image_size: options.ImageSizeOption = None,
    out: Annotated[Path | None, Option("--out", help="Run folder; default: beside the teacher's.")] = None,
    device: options.DeviceOption = None,
    verbose: options.VerboseOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Train a smaller network on the answers of a run's network, for use where milliseconds count."""
    started = monotonic()
    import kilnet

    with told_in_detail(verbose):
        found = kilnet.distill(
            run,
            model,
            recipe=recipe,
            settings=options.chosen(settings, image_size=image_size),
            epochs=epochs,
            budget=budget,
            seed=seed,
            data=data,
            out=out,
            device=device,
            progress=not as_json,
            started=started,
        )
    _print(found, as_json)


def _print(found: "Distillation", as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
        return
    for title, network in (("teacher", found.teacher), ("student", found.student)):
        say(
            f"{title}: {network.model}, validation accuracy {network.accuracy:.2%} of {network.num_images:,}, "
            f"{network.num_parameters:,} parameters, {network.num_bytes / 1e6:.1f} MB, "
            f"{network.images_per_second:,.0f} images/s"
        )
    say_next("kilnet", "evaluate", found.run.folder)
