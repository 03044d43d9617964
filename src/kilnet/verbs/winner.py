"""The run that a verb is given, where that may be a search: its winner."""

from collections.abc import Callable
from pathlib import Path

from kilnet.errors import RunFolderError
from kilnet.models import Builder
from kilnet.runs.listing import is_search
from kilnet.runs.run import Run, opened
from kilnet.storage import given_path


def opened_or_winner(
    given: Run | str | Path, model: str | Builder | None = None, say: Callable[[str], None] = lambda _: None
) -> Run:
    """Return a run as `opened` does, and for the folder of a search the run that stands for its winner.

    Args:
        given: what `train` returned, or the folder of a run or a search.
        model: see `Run`.
        say: told which run that is.

    Raises:
        RunFolderError: the search has no winner yet.
    """
    if isinstance(given, Run):
        return opened(given, model)
    folder = given_path(given)
    if not is_search(folder):
        return opened(folder, model)
    from kilnet.tuning.search_folder import SearchFolder  # optuna, which a run needs not
    from kilnet.tuning.summary import summarise

    tuned = [path for path in SearchFolder(folder).finetuned() if (path / "weights.safetensors").is_file()]
    winner = tuned[0] if tuned else summarise(folder).winner_folder
    if winner is None:
        raise RunFolderError(f"{folder}: no trial of this search has ended an epoch yet; wait for one")
    say(f"{folder} is a search; this is about its winner, {winner}")
    return opened(winner, model)
