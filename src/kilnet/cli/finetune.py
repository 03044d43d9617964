"""kilnet finetune."""

from pathlib import Path
from time import monotonic
from typing import Annotated

from typer import Argument, Option

from kilnet.cli import completion, options
from kilnet.cli.output import told_in_detail


def finetune(
    run: Annotated[
        Path,
        Argument(
            metavar="RUN|SEARCH",
            help="A run folder, or a search with a winner.",
            autocompletion=completion.runs,
        ),
    ],
    epochs: Annotated[int | None, Option("--epochs", help="At most; default 50.")] = None,
    budget: options.BudgetOption = None,
    lr: Annotated[
        float | None,
        Option(
            "--lr",
            help="Default: 0.0008, or 4/5 of the parent's if that is less; with Muon 1/5 of the parent's.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        Option(
            "--patience", help="Epochs without a lower validation loss; default 6, with --budget any number."
        ),
    ] = None,
    anew: Annotated[bool, Option("--anew", help="Begin with random weights, not the parent's.")] = False,
    settings: options.SettingsOption = None,
    data: options.MovedDataOption = None,
    model: options.OwnModelOption = None,
    out: Annotated[Path | None, Option("--out", help="Run folder; default: beside the parent.")] = None,
    verbose: options.VerboseOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Train a run, or a search's winner, further at a lower learning rate, until patience is spent."""
    started = monotonic()
    import kilnet
    from kilnet.cli.train import print_run

    with told_in_detail(verbose):
        tuned = kilnet.finetune(
            run,
            epochs=epochs,
            budget=budget,
            lr=lr,
            patience=patience,
            anew=anew,
            settings=options.chosen(settings),
            data=data,
            model=model,
            out=out,
            progress=not as_json,
            started=started,
        )
    print_run(tuned, as_json)
