"""Arguments and options that several verbs share."""

import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from kilnet.cli import completion

DataArgument = Annotated[
    str,
    Argument(
        metavar="DATA",
        help="cifar10, digits, a folder of pictures, a table of labels, or an archive of these.",
        autocompletion=completion.data,
    ),
]
JsonOption = Annotated[bool, Option("--json", help="Print one JSON object and nothing else.")]


def reach_own_code(given: str | list[str] | None) -> Any:
    """Let the current folder be imported from, as with `python -m`, once a network outside Kilnet is named."""
    from kilnet.config import is_foreign  # not for --help

    words = [f"model.name={given}"] if isinstance(given, str) else given or []
    named = [word.partition("=")[2] for word in words if word.lstrip().startswith("model.name")]
    if any(is_foreign(name.strip(" '\"")) for names in named for name in names.split(",")):
        sys.path.insert(0, str(Path.cwd()))
    return given


ModelOption = Annotated[
    str | None,
    Option(
        "--model",
        help="ConvNet, ConfigNet, ResNet, FastNet, EfficientNetLite, timm:NAME, or package.module:builder.",
        callback=reach_own_code,
        autocompletion=completion.models,
    ),
]
RecipeOption = Annotated[
    str | None,
    Option(
        "--recipe",
        metavar="FILE|NAME",
        help="TOML file with settings, or a name that `kilnet recipes` lists.",
        autocompletion=completion.recipes,
    ),
]
SettingsOption = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting; may be repeated. The last part of its name is enough where it is the only such.",
        callback=reach_own_code,
        autocompletion=completion.settings,
    ),
]
EpochsOption = Annotated[int | None, Option("--epochs", help="How often to go through the images.")]
BudgetOption = Annotated[
    str | None, Option("--budget", metavar="TIME", help="How long the command may take: 90s, 10m, 1h30m.")
]
OptimiseOption = Annotated[
    str | None,
    Option(
        "--optimise",
        metavar="WHAT",
        help="accuracy, or macro-recall: rare classes count as much as common ones.",
    ),
]
SeedOption = Annotated[int | None, Option("--seed", help="Seed of everything random.")]
DeviceOption = Annotated[str | None, Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
ClusterOption = Annotated[
    str | None,
    Option(
        "--cluster",
        metavar="HOST:PORT|auto",
        help="Train trials or folds on a Ray cluster; auto: the one that this machine is in, or a new one of it alone.",
    ),
]
WaitOption = Annotated[
    str | None,
    Option(
        "--wait",
        metavar="TIME",
        help="How long to wait for a machine of the cluster when there is none, such as 10m; default: for ever.",
    ),
]
VerboseOption = Annotated[
    bool,
    Option("--verbose", "-v", help="Also tell what was measured of this machine, and how it was chosen."),
]
DataDirOption = Annotated[
    str | None, Option("--data-dir", help="A copy of CIFAR-10 on disk; else KILNET_DATA, else it is fetched.")
]
ImageSizeOption = Annotated[int | None, Option("--image-size", help="Side of the square images, in pixels.")]
BadImageOption = Annotated[
    str | None, Option("--on-bad-image", help="What to do when a file is no usable image: fail or skip.")
]
RootOption = Annotated[
    str | None,
    Option(
        "--root", metavar="FOLDER", help="Where the paths in a table of labels begin; default: beside it."
    ),
]
ColumnsOption = Annotated[
    str | None,
    Option(
        "--columns",
        metavar="KIND=NAME,...",
        help="Columns of a table: path, label, split, group, weight; default: found by name.",
    ),
]
GroupOption = Annotated[
    str | None,
    Option(
        "--group",
        metavar="COLUMN|PATTERN|exif",
        help="What keeps pictures in one split: a column, a pattern on paths with (?P<group>...), or exif.",
    ),
]
CorrectionsOption = Annotated[
    str | None,
    Option(
        "--corrections",
        metavar="FILE",
        help="A table of labels put right and of images left out, as kilnet review writes it.",
    ),
]
RunsFolderArgument = Annotated[
    Path | None,
    Argument(
        metavar="FOLDER",
        help="Where to look, at any depth; default: runs and searches here.",
        autocompletion=completion.runs,
    ),
]
HostOption = Annotated[
    str,
    Option("--host", help="Address to listen at; the default can be reached from this machine only."),
]
PortOption = Annotated[int, Option("--port", help="Port to listen at; 0 takes a free one.")]
MovedDataOption = Annotated[
    str | None, Option("--data", help="Where the run's folder of pictures lies now, if it has moved.")
]
RunArgument = Annotated[
    Path,
    Argument(metavar="RUN", help="A run folder, or a search with a winner.", autocompletion=completion.runs),
]
OwnModelOption = Annotated[
    str | None,
    Option(
        "--model",
        help="The run's package.module:builder, if its network is your own code.",
        callback=reach_own_code,
    ),
]


def chosen(
    settings: list[str] | None,
    data_dir: str | None = None,
    image_size: int | None = None,
    on_bad_image: str | None = None,
    root: str | None = None,
    columns: str | None = None,
    group: str | None = None,
    corrections: str | None = None,
) -> dict[str, Any]:
    """Return the settings of the command line by dotted key; those with an option of their own win."""
    from kilnet.recipes.reading import parse_settings

    own = {
        "data.dir": data_dir,
        "data.image_size": image_size,
        "data.on_bad_image": on_bad_image,
        "data.root": root,
        "data.columns": columns,
        "data.group": group,
        "data.corrections": corrections,
    }
    return {**parse_settings(settings or []), **{key: v for key, v in own.items() if v is not None}}
