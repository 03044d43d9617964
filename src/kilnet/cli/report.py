"""kilnet report."""

from pathlib import Path
from typing import Annotated

import typer

from kilnet.cli import completion
from kilnet.cli.options import DataDirOption, JsonOption, MovedDataOption, OwnModelOption
from kilnet.cli.output import own_model_words, print_json, print_rich, say, say_next


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A run folder, or a search, also while it runs.",
            autocompletion=completion.runs,
        ),
    ],
    data: MovedDataOption = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write report.html, one page in one file that opens offline; a search is printed as well."""
    import kilnet
    from kilnet.runs.listing import is_search
    from kilnet.verbs.report import has_suspected_labels, read_search

    summary, evaluation = read_search(run) if is_search(run) else (None, None)
    if summary is not None and not as_json:
        from kilnet.terminal.search_tables import search_tables

        print_rich(search_tables(summary, evaluation))
    if summary is not None and summary.winner is None:  # no epoch has ended yet: there is nothing to draw
        if as_json:
            print_json(summary.to_dict() | {"test": None, "report": None})
        return
    path = kilnet.report(run, data=data, data_dir=data_dir, model=model, progress=not as_json)
    num_bytes = path.stat().st_size
    if as_json:
        content = {"report": str(path), "num_bytes": num_bytes}
        if summary is not None:
            content = summary.to_dict() | {"test": evaluation.to_dict() if evaluation else None} | content
        print_json(content)
    else:
        size = f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.0f} kB"
        say(f"{path}, {size}: open it in a browser")
        if summary is not None and summary.winner_folder is not None and summary.is_complete:
            say_next("kilnet", "evaluate", summary.winner_folder, *own_model_words(model))
        elif summary is None:
            verb = "review" if has_suspected_labels(run) else "inspect"
            say_next("kilnet", verb, run, *own_model_words(model))
