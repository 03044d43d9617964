"""The command line: parses, calls the public functions and prints."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer

# Everything that needs torch is imported inside the verbs: `kilnet --help` must not wait for it.
from kilnet.errors import KilnetError

# Of click, which typer brings along without naming it.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    help="Train, tune and understand small image classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="cifar10, digits, or a folder of pictures.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DataDirOption = Annotated[
    str | None,
    typer.Option("--data-dir", help="A copy of CIFAR-10 on disk; else KILNET_DATA, else it is fetched."),
]
ImageSizeOption = Annotated[
    int | None, typer.Option("--image-size", help="Side of the square images, in pixels.")
]
BadImageOption = Annotated[
    str | None, typer.Option("--on-bad-image", help="What a file that is no usable image does: fail or skip.")
]


@app.command()
def train(
    data: DataArgument,
    model: Annotated[
        str | None, typer.Option("--model", help="ConvNet, ConfigNet, ResNet, or package.module:builder.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="TOML file with settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="How often to go through the images.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; default: a free name in runs/.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = None,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    on_bad_image: BadImageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network, or go on with a run that was interrupted."""
    import kilnet
    from kilnet.config import parse_settings
    from kilnet.metrics import wilson_interval

    given = _given({"data.dir": data_dir, "data.image_size": image_size, "data.on_bad_image": on_bad_image})
    run = kilnet.train(
        data,
        model,
        recipe=recipe,
        settings={**parse_settings(settings or []), **given},
        epochs=epochs,
        seed=seed,
        out=out,
        device=device,
        progress=not as_json,
    )
    low, high = wilson_interval(run.best.num_validation_correct, run.num_validation)
    if as_json:
        _print_json(
            {
                "run": str(run.folder),
                "num_epochs": len(run.history),
                "best_epoch": run.best.epoch,
                "validation_loss": run.best.validation_loss,
                "validation_accuracy": run.best.validation_accuracy,
                "validation_accuracy_interval": [low, high],
            }
        )
        return
    typer.echo(
        f"best epoch {run.best.epoch} of {len(run.history)}: validation accuracy "
        f"{run.best.validation_accuracy:.2%} ({low:.1%}–{high:.1%}), loss {run.best.validation_loss:.4f}"
    )
    typer.echo(f"next: kilnet evaluate {run.folder}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    split: Annotated[
        str | None,
        typer.Option("--split", help="test (default), val or train; for other data all (default)."),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Other data with the same class names.")] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run's best weights; the test split is read here and nowhere else."""
    import kilnet
    from kilnet.reporting.tables import evaluation_report

    evaluation = kilnet.evaluate(run, split, data=data, data_dir=data_dir, progress=not as_json)
    if as_json:
        _print_json(evaluation.to_dict())
    else:
        _print_rich(evaluation_report(evaluation))
        typer.echo(f"numbers and pictures are in {run}")


@app.command("data")
def show_data(
    data: DataArgument,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a data set: counts, sizes, unusable files, duplicates."""
    from dataclasses import asdict

    from kilnet.config import load_config
    from kilnet.data.inventory import inspect_data
    from kilnet.reporting.inventory import inventory_report
    from kilnet.reporting.progress import ProgressDisplay

    given = _given({"data.source": data, "data.dir": data_dir, "data.image_size": image_size})
    with ProgressDisplay(enabled=not as_json) as display:
        inventory = inspect_data(load_config(settings=given).data, display.advance)
    if as_json:
        _print_json(asdict(inventory))
    else:
        _print_rich(inventory_report(inventory))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Show the environment, what is measured on it, and what is wrong with it."""
    from dataclasses import asdict

    from kilnet.doctor import examine

    diagnosis = examine()
    if as_json:
        _print_json(asdict(diagnosis))
    else:
        for name, fact in diagnosis.facts.items():
            typer.echo(f"{name:14} {fact}")
        for problem in diagnosis.problems:
            typer.echo(f"problem: {problem}")
        typer.echo(f"{len(diagnosis.problems)} problems" if diagnosis.problems else "nothing is wrong")
    if diagnosis.problems:
        raise typer.Exit(1)


def main() -> NoReturn:
    """Run the command line; every error a user can meet is one line on standard error and an exit code."""
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what the terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_guarded(lambda: app(standalone_mode=False)))


def _guarded(command: Callable[[], Any]) -> int:
    try:
        result = command()
    except KilnetError as error:
        return _fail(str(error), error.exit_code)
    except _UsageError as error:
        message = error.format_message().rstrip(".")  # empty where the help has been printed instead
        return _fail(f"{message}; see kilnet --help", 2) if message else 2
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of a pipe has left; nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _fail(message: str, exit_code: int) -> int:
    message = " ".join(message.splitlines())  # a path may hold line breaks
    print(f"kilnet: {message}", file=sys.stderr)  # noqa: T201
    return exit_code


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, allow_nan=False))


def _print_rich(renderable: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(renderable)
