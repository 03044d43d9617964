"""kilnet train."""

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from kilnet.cli.options import (
    BadImageOption,
    BudgetOption,
    DataArgument,
    DataDirOption,
    DeviceOption,
    EpochsOption,
    ImageSizeOption,
    JsonOption,
    ModelOption,
    RecipeOption,
    SeedOption,
    SettingsOption,
    given,
)
from kilnet.cli.output import print_json

if TYPE_CHECKING:
    from kilnet.runs.run import Run


def train(
    data: DataArgument,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    settings: SettingsOption = None,
    epochs: EpochsOption = None,
    budget: BudgetOption = None,
    seed: SeedOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; default: a free name in runs/.")
    ] = None,
    device: DeviceOption = None,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    on_bad_image: BadImageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network, or resume a run that was interrupted."""
    started = monotonic()
    import kilnet
    from kilnet.recipes.reading import parse_settings

    options = given({"data.dir": data_dir, "data.image_size": image_size, "data.on_bad_image": on_bad_image})
    run = kilnet.train(
        data,
        model,
        recipe=recipe,
        settings={**parse_settings(settings or []), **options},
        epochs=epochs,
        budget=budget,
        seed=seed,
        out=out,
        device=device,
        progress=not as_json,
        started=started,
    )
    print_run(run, as_json)


def print_run(run: "Run", as_json: bool) -> None:
    """Print how a training ended."""
    from kilnet.metrics import wilson_interval

    low, high = wilson_interval(run.best.num_validation_correct, run.num_validation)
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "num_epochs": run.history[-1].epoch,
                "best_epoch": run.best.epoch,
                "validation_loss": run.best.validation_loss,
                "validation_accuracy": run.best.validation_accuracy,
                "validation_accuracy_interval": [low, high],
            }
        )
        return
    typer.echo(
        f"kept: epoch {run.best.epoch} of {run.history[-1].epoch}, validation accuracy "
        f"{run.best.validation_accuracy:.2%} ({low:.1%}–{high:.1%}), loss {run.best.validation_loss:.4f}"
    )
    typer.echo(f"next: kilnet evaluate {run.folder}")
