"""kilnet compare."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from kilnet.cli import completion
from kilnet.cli.options import DataDirOption, JsonOption, MovedDataOption, OwnModelOption
from kilnet.cli.output import own_model_words, print_json, say_next


def compare(
    runs: Annotated[
        list[Path],
        Argument(
            metavar="RUNS", help="Two run folders or more, of the same data.", autocompletion=completion.runs
        ),
    ],
    split: Annotated[
        str, Option("--split", help="val (default), train, or test, whose reading is recorded.")
    ] = "val",
    data: MovedDataOption = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what runs differ in: settings, accuracy with paired tests, and of two runs single images."""
    import kilnet
    from kilnet.storage import given_path

    paths = [given_path(run) for run in runs]
    found: kilnet.RunComparison | kilnet.RunRanking
    if len(paths) == 2:
        found = kilnet.compare(
            paths[0], paths[1], split, data=data, data_dir=data_dir, model=model, progress=not as_json
        )
        best = found.names[found.outcome.difference > 0]
    else:
        found = kilnet.compare_all(
            paths, split, data=data, data_dir=data_dir, model=model, progress=not as_json
        )
        best = found.names[0]
    if as_json:
        print_json(found.to_dict())
        return
    kilnet.show(found)
    source = given_path(kilnet.Run(best).config.data.source)
    own = own_model_words(model)
    if source.is_dir():
        say_next("kilnet", "predict", best, source, *own)
    else:
        say_next("kilnet", "serve", best, *own)
