"""Parts of a run's or a search's folder, which may come from anybody."""

from pathlib import Path
from typing import Any

from kilnet.errors import RunFolderError


def inside(folder: Path, name: str) -> Path:
    """Return the path of a part of a run's or a search's folder.

    A folder may come from anybody. If `state` or `plots` in it were links, what is written there and deleted there
    would be somewhere else. A link to the folder as a whole is the user's own and does no harm.

    Raises:
        RunFolderError: a link leads there.
    """
    path = folder
    for part in Path(name).parts:
        path /= part
        if path.is_symlink():
            raise RunFolderError(f"{path}: a link, which Kilnet does not follow; move what it names here")
    return path


class Part:
    """A path inside the folder of an object, its `path`: looked at whenever it is asked for; raises what `inside` does.

    A search has thousands of runs, and asks each for one or two of its files.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, _: type | None = None) -> Path:
        return inside(owner.path, self.name)
