"""The recipes and spaces that come with Kilnet, by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kilnet.errors import ConfigError, nearest
from kilnet.storage import given_path

Kind = Literal["recipe", "space"]
FAST = "fast"
"""The recipe of a run with a budget, where neither network nor recipe is named."""
PHOTOS = "photos"
"""The recipe of a network that begins with pretrained weights, where no recipe is named."""
TUTORIAL_SPACE = "tutorial"
"""What a search of ConfigNet varies, where no space is named."""
_FOLDERS: dict[Kind, Path] = {"recipe": Path(__file__).parent, "space": Path(__file__).parent / "spaces"}


@dataclass(frozen=True)
class Recipe:
    """A file that comes with Kilnet.

    Attributes:
        name: what it is called by.
        kind: "recipe" or "space".
        about: the first line of its comment.
        text: TOML.
    """

    name: str
    kind: Kind
    about: str
    text: str


def list_recipes() -> tuple[Recipe, ...]:
    """Return the recipes and spaces that come with Kilnet: recipes first, then by name."""
    found = []
    for kind, folder in _FOLDERS.items():
        for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem):
            text = path.read_text(encoding="utf-8")
            about = text.partition("\n")[0].removeprefix("# ")
            found.append(Recipe(name=path.stem, kind=kind, about=about, text=text))
    return tuple(found)


def find(name: str | Path, kind: Kind = "recipe") -> Path:
    """Return the file that a name or a path stands for; a file of that name in the current folder comes first.

    Raises:
        ConfigError: it is the path of no file, and no name that Kilnet knows.
    """
    path = given_path(name)
    built_in = {file.stem: file for file in sorted(_FOLDERS[kind].glob("*.toml"), key=lambda path: path.stem)}
    if path.is_file():
        return path
    if str(name) in built_in:
        return built_in[str(name)]
    if path.suffix or Path(name).name != str(name):
        return path  # reading it says what is wrong
    names = f"; there are {', '.join(built_in)}"
    guess = nearest(str(name), list(built_in)).removesuffix(names)
    raise ConfigError(
        f"`{kind}={str(name)!r}`: no such file, nor a {kind} that comes with Kilnet{guess}{names}"
    )
