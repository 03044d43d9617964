"""kilnet export: a run as one file."""

from pathlib import Path
from typing import Annotated

import typer

from kilnet.cli.options import DataDirOption, JsonOption, MovedDataOption, OwnModelOption, RunArgument
from kilnet.cli.output import own_model_words, print_json, say, say_next


def export(
    run: RunArgument,
    format: Annotated[  # noqa: A002 as in Python
        str, typer.Option("--format", metavar="FORMAT", help="onnx, torch (torch.export), or int8 (ONNX).")
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file; default: in RUN/exports/.")
    ] = None,
    data: MovedDataOption = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a run as one file, verified: it is kept only if it answers as Kilnet does."""
    from kilnet.exporting.exported_file import card_path
    from kilnet.verbs.export import export

    made = export(run, format, out=out, data=data, data_dir=data_dir, model=model, progress=not as_json)
    if as_json:
        print_json(made.to_dict())
        return
    found, allowed = made.verification, made.verification.tolerance
    size = f"{made.num_bytes / 1e6:.2f} MB"
    say(f"{made.path}: {size}, verified on {made.images}, run by {made.runtime}")
    say(f"same class             {found.agreement:.2%} (at least {allowed.agreement:.2%})")
    say(f"largest difference     {found.largest_difference:.2g} (at most {allowed.difference:g})")
    most = f"at most {100 * allowed.accuracy_lost:.2f}, or one image"
    say(f"accuracy lost          {100 * found.accuracy_lost:.2f} points ({most})")
    if found.agreement_unknown is not None:
        say(
            f"unknown to both        {found.agreement_unknown:.2%}, or to neither (at least {allowed.agreement:.2%})"
        )
    say(f"how to use it: {card_path(made.path)}")
    say_next("kilnet", "serve", run, *own_model_words(model))
