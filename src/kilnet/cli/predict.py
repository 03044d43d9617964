"""kilnet predict: what a trained network says of pictures."""

import shlex
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kilnet.cli.options import JsonOption, OwnModelOption, RunArgument
from kilnet.cli.output import own_model_words, print_json, print_rich, print_rows, say, say_next
from kilnet.runs.wording import counted

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
    class_shares: Annotated[
        str | None,
        typer.Option(
            "--class-shares",
            metavar="SHARES",
            help="How common each class is where the pictures come from: cat=0.2,dog=0.8, or equal; default: as in "
            "training.",
        ),
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="table, csv, or jsonl: one object per line.")
    ] = Format.TABLE,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify pictures; files that cannot be used are listed on standard error, and the exit code is 1."""
    from kilnet.data.class_folders import Problem
    from kilnet.inference.class_shares import parse_shares
    from kilnet.terminal import prediction_tables as rows
    from kilnet.verbs.load import load
    from kilnet.verbs.predict import predict

    shares = None if class_shares is None else parse_shares(class_shares)
    classifier = load(run, class_shares=shares, model=model)
    if classifier.calibration is None:
        advice = f"`kilnet evaluate {shlex.quote(str(run))} --split val` does it"
        say(f"warning: {run}: not calibrated, confidences are raw; {advice}", error=True)
    problems: list[Problem] = []

    def usable() -> Iterator["Prediction"]:
        for result in predict(classifier, _paths(pictures)):
            if isinstance(result, Problem):
                problems.append(result)
                if not as_json:
                    say(f"{result.path}: {result.reason}", error=True)
            else:
                yield result

    if as_json:
        objects = [rows.as_dict(prediction, top, unsure) for prediction in usable()]
        print_json({"predictions": objects, "unusable": [vars(problem) for problem in problems]})
    elif output is Format.TABLE:
        found = list(usable())
        print_rich(rows.table(found, top, unsure))
        say(rows.summary(found, unsure))
        say_next("kilnet", "serve", run, *own_model_words(model))
    elif output is Format.CSV:
        print_rows(
            rows.csv_rows(
                usable(), min(top, len(classifier.classes)), unsure, classifier.unknown_above is not None
            )
        )
    else:
        for prediction in usable():
            print_json(rows.as_dict(prediction, top, unsure))
    if problems:
        if not as_json:
            say(f"{counted(len(problems), 'file')} could not be used", error=True)
        raise typer.Exit(1)


def _paths(words: list[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            lines = (
                line.removeprefix("\ufeff").rstrip("\r\n") for line in sys.stdin
            )  # Windows begins files so
            yield from filter(None, lines)
        else:
            yield word
