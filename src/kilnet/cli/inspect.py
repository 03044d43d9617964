"""kilnet inspect."""

from typing import Annotated

import typer

from kilnet.cli.options import DataDirOption, JsonOption, MovedDataOption, OwnModelOption, RunArgument
from kilnet.cli.output import own_model_words, print_json, say, say_next
from kilnet.runs.wording import counted


def inspect(
    run: RunArgument,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", help="Convolution whose filters are drawn, by name or number from 1; default: all."
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            "--channel", help="Input channel of its filters, from 0; default: colour, or the first."
        ),
    ] = None,
    all_kernels: Annotated[
        bool, typer.Option("--all-kernels", help="Draw every input channel of every filter.")
    ] = False,
    columns: Annotated[int | None, typer.Option("--columns", help="Pictures in a row.")] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="FILE|NAME|NUMBER",
            help="Image to explain: a file, a name of the split, or a place in it; default: the worst mistake.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", help="How many samples, mistakes and suspected labels are drawn.")
    ] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the samples.")] = 0,
    split: Annotated[
        str, typer.Option("--split", help="val (default), train, or test, whose reading is recorded.")
    ] = "val",
    num_folds: Annotated[
        int | None,
        typer.Option(
            "--folds", metavar="K", help="Check the training labels too: K more trainings; resumes."
        ),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option("--precision", help="Suspect as many labels as leave this part expected to be wrong."),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall", help="Suspect enough labels to hold this part of the wrong ones, as expected."
        ),
    ] = None,
    data: MovedDataOption = None,
    data_dir: DataDirOption = None,
    model: OwnModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw filters, feature maps, attributions and mistakes, and list suspected label errors."""
    import kilnet

    found = kilnet.inspect(
        run,
        layer=layer,
        channel=channel,
        all_kernels=all_kernels,
        columns=columns,
        image=image,
        count=count,
        seed=seed,
        split=split,
        num_folds=num_folds,
        precision=precision,
        recall=recall,
        data=data,
        data_dir=data_dir,
        model=model,
        progress=not as_json,
    )
    if as_json:
        print_json(found.to_dict())
        return
    kilnet.show(found)
    if found.confused:
        worst = found.confused[0]
        where = next((path for path in found.files if path.name == f"confused-{found.split}.png"), None)
        times = counted(worst.num_images, "image")
        say(
            f"most confused: {worst.truth} taken for {worst.predicted}, {times}"
            + (f": {where}" if where else "")
        )
    say(f"pictures and numbers are in {found.folder / 'plots'}: {counted(len(found.files), 'file')}")
    if found.suspects:
        say_next("kilnet", "review", run, *own_model_words(model))
    else:
        say_next("kilnet", "runs", found.folder.parent)
