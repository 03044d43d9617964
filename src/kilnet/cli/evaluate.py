"""kilnet evaluate."""

from typing import Annotated

import typer

from kilnet.cli.options import DataDirOption, JsonOption, OwnModelOption, RunArgument
from kilnet.cli.output import own_model_words, print_json, say, say_next


def evaluate(
    run: RunArgument,
    split: Annotated[
        str | None,
        typer.Option("--split", help="test (default), val or train; for other data all (default)."),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Other data with the same class names.")] = None,
    unknown: Annotated[
        str | None,
        typer.Option(
            "--unknown",
            metavar="FOLDER",
            help="Measure how well pictures of none of the classes are told apart.",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run's best weights; the test split is read here and nowhere else."""
    import kilnet
    from kilnet.verbs.winner import opened_or_winner

    found = opened_or_winner(run, model, lambda line: None if as_json else say(line, error=True))
    if unknown is not None:
        measured = kilnet.measure_unknown(
            found, unknown, data_dir=data_dir, model=model, progress=not as_json
        )
        if as_json:
            print_json(measured.to_dict())
        else:
            for line in measured.lines():
                say(line)
            say_next("kilnet", "predict", found.folder, unknown, *own_model_words(model))
        return
    evaluation = kilnet.evaluate(
        found, split, data=data, data_dir=data_dir, model=model, progress=not as_json
    )
    if as_json:
        print_json(evaluation.to_dict())
    else:
        kilnet.show(evaluation)
        say(f"numbers and pictures are in {found.folder}")
        say_next("kilnet", "report", found.folder, *own_model_words(model))
