"""kilnet runs."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from typer import Option

from kilnet.cli.options import JsonOption, RunsFolderArgument
from kilnet.cli.output import print_json, print_rich, print_rows, say, say_next

if TYPE_CHECKING:
    from kilnet.runs.listing import ListedRun


class Format(StrEnum):
    """How runs are printed."""

    TABLE = "table"
    CSV = "csv"


def runs(
    folder: RunsFolderArgument = None,
    where: Annotated[
        list[str] | None,
        Option(
            "--where",
            metavar="CONDITION",
            help="Such as 'accuracy>90%', optimizer.lr=0.01, 'model=Fast*' or status!=finished; may be repeated.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        Option(
            "--sort", metavar="KEY", help="Any setting or metric, the best first; default: the newest first."
        ),
    ] = None,
    reverse: Annotated[bool, Option("--reverse", help="The other way round.")] = False,
    output: Annotated[Format, Option("--format", metavar="FORMAT", help="table or csv.")] = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List runs and searches, sorted and filtered by any setting or metric."""
    from kilnet.runs.selection import keys_in, whole_key
    from kilnet.terminal.runs_table import runs_table, summary
    from kilnet.verbs.runs import list_runs

    found = list_runs(folder, where=where or (), sort=sort, reverse=reverse)
    if as_json:
        print_json({"runs": [run.to_dict() for run in found]})
    elif output is Format.CSV:
        _print_csv(found)
    elif not found:
        say("no runs")
        say_next("kilnet", "train", "digits", "--budget", "30s")
    else:
        asked = [*keys_in(found, where or ()), *([whole_key(found, sort)] if sort else [])]
        print_rich(runs_table(found, asked))
        say(summary(found))
        _say_what_follows(found)


def _print_csv(found: "tuple[ListedRun, ...]") -> None:
    rows = [run.to_dict() for run in found]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print_rows([columns, *([row.get(column, "") for column in columns] for row in rows)])


def _say_what_follows(found: "tuple[ListedRun, ...]") -> None:
    """Name the comparison of the two best runs of the same images; of one alone its report, then more training."""
    from kilnet.runs.listing import REPORT

    having = [run for run in found if run.kind == "run" and "accuracy" in run.values]
    having.sort(key=lambda run: -run.values["accuracy"])
    for best in having:
        others = [run for run in having if run.values.get("fingerprint") == best.values.get("fingerprint")]
        if len(others) > 1:
            say_next("kilnet", "compare", *(run.path for run in others[:2]))
            return
    only = (having or found)[0]
    if only in having and (only.path / REPORT).exists():
        say_next("kilnet", "finetune", only.path, "--budget", "5m")
    else:
        say_next("kilnet", "report", only.path)
