"""A trial of a search as a run of its own."""

import os
import shutil
from pathlib import Path

from kilnet.errors import RunFolderError, StorageError
from kilnet.storage import given_path
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.search_folder import ATTEMPTS, SearchFolder


def promote(search: str | Path, trial: int, out: str | Path | None = None) -> Path:
    """Copy a trial out of a search as a run of its own, and return the folder of that run.

    Args:
        search: its folder.
        trial: its number.
        out: by default a free name in `runs/`.

    Raises:
        RunFolderError: there is no such trial, its weights were deleted, or `out` is there already.
    """
    folder = SearchFolder(given_path(search))
    folder.config()
    source = folder.run_folder(trial)
    run = RunFolder(source)
    if not run.exists:
        raise RunFolderError(f"{search}: trial {trial} was not begun")
    if not run.weights_path.exists():
        raise RunFolderError(
            f"{search}: trial {trial} has no weights: they were deleted to save space, or it never ended an epoch; "
            f"`kilnet.train(recipe={str(run.config_path)!r})` trains it again"
        )
    target = (
        given_path(out)
        if out is not None
        else Path("runs") / f"{given_path(search).resolve().name}-{trial:04}"
    )
    if target.exists():
        raise RunFolderError(f"{target} is there already; choose another `out`")
    copying = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(copying, ignore_errors=True)
    try:
        shutil.copytree(source, copying, ignore=_left_out)
        copying.rename(target)
    except OSError as error:
        shutil.rmtree(copying, ignore_errors=True)
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror or error
        raise StorageError(f"cannot write {target}: {reason}") from None
    return target


def _left_out(folder: str, names: list[str]) -> list[str]:
    """Return what is not copied: the search's own notes, and what is neither file nor folder, links among it."""
    with os.scandir(folder) as entries:
        copied = {
            entry.name
            for entry in entries
            if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
        }
    return [name for name in names if name.startswith(".") or name == ATTEMPTS or name not in copied]
