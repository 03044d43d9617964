"""kilnet train."""

import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

from typer import Option

from kilnet.cli import options
from kilnet.cli.output import own_model_words, print_json, say, say_next, told_if_slow, told_in_detail

if TYPE_CHECKING:
    from kilnet.runs.cross_validation import CrossValidated
    from kilnet.runs.run import Run


def train(
    data: options.DataArgument,
    model: options.ModelOption = None,
    recipe: options.RecipeOption = None,
    settings: options.SettingsOption = None,
    epochs: options.EpochsOption = None,
    budget: options.BudgetOption = None,
    seed: options.SeedOption = None,
    out: Annotated[Path | None, Option("--out", help="Run folder; default: a free name in runs/.")] = None,
    device: options.DeviceOption = None,
    optimise: options.OptimiseOption = None,
    frozen: Annotated[
        bool, Option("--frozen", help="Fit the last layer of a pretrained network alone, in seconds.")
    ] = False,
    start: Annotated[
        str | None,
        Option(
            "--from",
            metavar="scratch|pretrained",
            help="Begin with random or pretrained weights, instead of what measures better within the budget.",
        ),
    ] = None,
    data_dir: options.DataDirOption = None,
    image_size: options.ImageSizeOption = None,
    on_bad_image: options.BadImageOption = None,
    root: options.RootOption = None,
    columns: options.ColumnsOption = None,
    group: options.GroupOption = None,
    corrections: options.CorrectionsOption = None,
    folds: Annotated[
        int | None,
        Option("--folds", help="Also train once for each of so many parts of the images, without that part."),
    ] = None,
    cluster: options.ClusterOption = None,
    wait: options.WaitOption = None,
    verbose: options.VerboseOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Train a network, or resume a run that was interrupted."""
    started = monotonic()
    with told_if_slow("loading PyTorch ...", quiet=as_json or not sys.stderr.isatty()):
        import kilnet

    with told_in_detail(verbose):
        if folds is not None:
            from kilnet.training.follower import refuse_torchrun

            refuse_torchrun("cross-validation")
        team = None
        if cluster is not None or wait is not None:
            from kilnet.verbs.cross_validate import cluster_of_folds  # which a training alone does without

            team = cluster_of_folds(cluster, wait, folds, budget)
        run = kilnet.train(
            data,
            model,
            recipe=recipe,
            settings=options.chosen(
                settings, data_dir, image_size, on_bad_image, root, columns, group, corrections
            ),
            epochs=epochs,
            budget=budget,
            seed=seed,
            out=out,
            device=device,
            frozen=frozen,
            start=start,
            optimise=optimise,
            progress=not as_json,
            started=started,
        )
        found = None
        if folds is not None:
            from kilnet.verbs.cross_validate import validated

            found = validated(run, folds, progress=not as_json, team=team)
    print_run(run, as_json, found)


def print_run(run: "Run", as_json: bool, folds: "CrossValidated | None" = None) -> None:
    """Print how a training ended, and what its folds say, if there are some."""
    from kilnet.config import is_foreign
    from kilnet.metrics.intervals import wilson_interval

    low, high = wilson_interval(run.best.num_validation_correct, run.num_validation)
    macro_recall = run.best.validation_macro_recall
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "num_epochs": run.history[-1].epoch,
                "best_epoch": run.best.epoch,
                "validation_loss": run.best.validation_loss,
                "validation_accuracy": run.best.validation_accuracy,
                "validation_accuracy_interval": [low, high],
                **({} if macro_recall is None else {"validation_macro_recall": macro_recall}),
                **({"cross_validation": folds.to_dict()} if folds else {}),
            }
        )
        return
    for line in folds.lines() if folds else ():
        say(line)
    epochs = run.history[-1].epoch
    kept = f"epoch {run.best.epoch} of {epochs}"
    if run.best.epoch == 0:  # nothing that was trained afterwards is better
        kept = "a new last layer on pretrained features" + (f", before epoch 1 of {epochs}" if epochs else "")
    say(
        f"kept: {kept}, validation accuracy "
        f"{run.best.validation_accuracy:.2%} ({100 * low:.1f}–{100 * high:.1f})"
        + ("" if macro_recall is None else f", macro recall {macro_recall:.2%}")
    )
    name = run.config.model.name
    say_next("kilnet", "evaluate", run.folder, *own_model_words(name if is_foreign(name) else None))
