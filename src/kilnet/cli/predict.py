"""kilnet predict: what a trained network says of pictures."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kilnet.cli.options import JsonOption, OwnModelOption, RunArgument
from kilnet.cli.output import print_json, print_rich

if TYPE_CHECKING:
    from kilnet.inference.classifier import Prediction


class Format(StrEnum):
    """How predictions are printed."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


def predict(
    run: RunArgument,
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES", help="Files, folders (with all below them), or - for paths on standard input."
        ),
    ],
    top: Annotated[
        int, typer.Option("--top", min=1, help="How many classes to name, the likeliest first.")
    ] = 3,
    unsure: Annotated[
        bool, typer.Option("--unsure", help="Mark the pictures that a person should look at.")
    ] = False,
    output: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="table, csv, or jsonl: one object per line.")
    ] = Format.TABLE,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify pictures; files that cannot be used are listed on standard error, and the exit code is 1."""
    from kilnet.data.class_folders import Problem
    from kilnet.terminal import prediction_tables as rows
    from kilnet.verbs.load import load
    from kilnet.verbs.predict import predict

    classifier = load(run, model=model)
    if classifier.calibration is None:
        _say(
            f"warning: {run}: not calibrated, confidences are raw; `kilnet evaluate {run} --split val` does it"
        )
    problems: list[Problem] = []

    def usable() -> Iterator["Prediction"]:
        for result in predict(classifier, _paths(pictures)):
            if isinstance(result, Problem):
                problems.append(result)
                if not as_json:
                    _say(f"{result.path}: {result.reason}")
            else:
                yield result

    if as_json:
        objects = [rows.as_dict(prediction, top, unsure) for prediction in usable()]
        print_json({"predictions": objects, "unusable": [vars(problem) for problem in problems]})
    elif output is Format.TABLE:
        print_rich(rows.table(usable(), top, unsure))
    elif output is Format.CSV:
        rows.write_csv(sys.stdout, usable(), min(top, len(classifier.classes)), unsure)
    else:
        for prediction in usable():
            print_json(rows.as_dict(prediction, top, unsure))
    if problems:
        if not as_json:
            _say(f"{len(problems):,} {'file' if len(problems) == 1 else 'files'} could not be used")
        raise typer.Exit(1)


def _paths(words: list[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            yield from filter(None, (line.rstrip("\r\n") for line in sys.stdin))
        else:
            yield word


def _say(line: Any) -> None:
    typer.echo(" ".join(str(line).splitlines()), err=True)
