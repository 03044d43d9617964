"""kilnet tune."""

from pathlib import Path
from typing import Annotated, Any, cast

from typer import Option

from kilnet.cli import completion, options
from kilnet.cli.output import print_json, say, say_next, told_in_detail


def tune(
    data: options.DataArgument,
    space: Annotated[
        list[str] | None,
        Option(
            "--space",
            metavar="FILE|NAME|KEY=VALUES",
            help="What to vary: a TOML file, a name that `kilnet recipes` lists, model.c1=48,96 or "
            "optimizer.lr=1e-4..1e-2:log; may be repeated. Default: tutorial.",
            callback=options.reach_own_code,
            autocompletion=completion.spaces,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        Option(
            "--strategy",
            help="grid (default for lists), effects (lists, default with --trials), random, tpe (default for ranges).",
        ),
    ] = None,
    halving: Annotated[
        bool, Option("--halving/--no-halving", help="After each rung, train only the best third further.")
    ] = True,
    trials: Annotated[
        int | None, Option("--trials", min=1, help="How many, for all but the grid; default 30.")
    ] = None,
    workers: Annotated[
        int | None, Option("--workers", min=1, help="Processes that train at once; default: measured.")
    ] = None,
    cluster: options.ClusterOption = None,
    wait: options.WaitOption = None,
    gpus_per_trial: Annotated[
        float | None,
        Option(
            "--gpus-per-trial", help="Of a cluster: 0.5 trains two trials at a time on each GPU; default: 1."
        ),
    ] = None,
    finalists: Annotated[
        int, Option("--finalists", min=1, help="How many of the best are trained again.")
    ] = 3,
    seeds: Annotated[int, Option("--seeds", min=0, help="With how many seeds each.")] = 3,
    fine_tune: Annotated[bool, Option("--finetune", help="Fine-tune the winner before the test.")] = False,
    optimise: options.OptimiseOption = None,
    model: options.ModelOption = None,
    recipe: options.RecipeOption = None,
    settings: options.SettingsOption = None,
    epochs: options.EpochsOption = None,
    seed: options.SeedOption = None,
    out: Annotated[
        Path | None, Option("--out", help="Search folder; default: a free name in searches/.")
    ] = None,
    storage: Annotated[
        str | None, Option("--storage", help="URL of an Optuna storage that gets a copy of the trials.")
    ] = None,
    dashboard: Annotated[
        bool,
        Option("--dashboard", help="Copy the trials to study.sqlite3 in the folder, for optuna-dashboard."),
    ] = False,
    disk_gb: Annotated[
        float, Option("--disk-gb", min=0, help="For weights and states of trials, in 10^9 bytes.")
    ] = 10.0,
    device: options.DeviceOption = None,
    data_dir: options.DataDirOption = None,
    image_size: options.ImageSizeOption = None,
    on_bad_image: options.BadImageOption = None,
    root: options.RootOption = None,
    columns: options.ColumnsOption = None,
    group: options.GroupOption = None,
    corrections: options.CorrectionsOption = None,
    verbose: options.VerboseOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Search for the best configuration; resumes after an interruption. The winner is tested once, at the end."""
    import kilnet

    with told_in_detail(verbose):
        search = kilnet.tune(
            data,
            space,
            finetune=fine_tune,
            strategy=cast("Any", strategy),  # checked with the rest
            halving=halving,
            trials=trials,
            workers=workers,
            cluster=cluster,
            wait=wait,
            gpus_per_trial=gpus_per_trial,
            finalists=finalists,
            seeds=seeds,
            optimise=optimise,
            model=model,
            recipe=recipe,
            settings=options.chosen(
                settings, data_dir, image_size, on_bad_image, root, columns, group, corrections
            ),
            epochs=epochs,
            seed=seed,
            out=out,
            storage=storage,
            dashboard=dashboard,
            disk_gb=disk_gb,
            device=device,
            progress=not as_json,
        )
    if as_json:
        print_json(
            search.summary.to_dict() | {"run": str(search.winner), "test": search.evaluation.to_dict()}
        )
        return
    kilnet.show(search)
    say(f"the winner's run: {search.winner}")
    say_next("kilnet", "report", search.folder)
