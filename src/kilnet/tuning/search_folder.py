"""What a search keeps on disk; everything that is known of it can be read back from here."""

import shutil
import tomllib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from kilnet.errors import RunFolderError
from kilnet.storage import held, read_json, write_json, write_text
from kilnet.training.records import EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.space import Values
from kilnet.tuning.trial import Trial

_CORRECT = "correct.npy"


@dataclass(frozen=True)
class Attempts:
    """What went wrong with one run of a search.

    Attributes:
        reasons: a line each, oldest first.
        num_epochs: how far the run was at each.
        failed: it has been given up.
    """

    reasons: tuple[str, ...] = ()
    num_epochs: tuple[int, ...] = ()
    failed: bool = False


class SearchFolder:
    """The files of a search.

    search.toml    the search; the folder is one as soon as this is there
    trials/0007/   a run, and trial.json: its values and what went wrong
    finalists/0007-seed-1/  a run, and correct.npy: which validation images it has right
    images/        what the workers share; removed at the end
    logs/          what workers wrote on standard error
    study.sqlite3  for Optuna's tools; nothing is read from it
    search.csv, search.json  the report
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "search.toml"
        self.environment_path = path / "environment.json"
        self.images_path = path / "images"
        self.logs_path = path / "logs"

    @property
    def exists(self) -> bool:
        """Whether a search was begun here."""
        return self.config_path.is_file()

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder against other processes; the system lets go when the process dies.

        Raises:
            BusyError: another process is running this search.
            RunFolderError: it cannot be made or written.
        """
        return held(self.path, "running this search")

    def begin(self, config: SearchConfig, environment: dict[str, Any]) -> None:
        """Write what the search is."""
        write_json(self.environment_path, environment)
        write_text(self.config_path, config.to_toml())

    def config(self) -> SearchConfig:
        """Read the configuration.

        Raises:
            RunFolderError: it is missing or not readable.
        """
        try:
            return SearchConfig.model_validate(tomllib.loads(self.config_path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise RunFolderError(f"{self.path}: no search here (no search.toml)") from None
        except (OSError, ValueError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise RunFolderError(f"{self.config_path}: not a search that Kilnet wrote: {reason}") from None

    def environment(self) -> dict[str, Any]:
        """Read the data's fingerprint and size, and the number of workers at the start."""
        return read_json(self.environment_path)

    def trial_folder(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.path / "trials" / f"{number:04}"

    def finalist_folder(self, number: int, seed: int) -> Path:
        """Return the run folder of a finalist's training with one seed."""
        return self.path / "finalists" / f"{number:04}-seed-{seed}"

    def finalist_folders(self) -> list[Path]:
        """Return the run folders of all finalists that were begun."""
        return sorted((self.path / "finalists").glob("*-seed-*"))

    def add_trial(self, number: int, values: Values) -> None:
        """Write down a proposed trial."""
        folder = self.trial_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "trial.json", {"number": number, "values": values})

    def trials(self, config: SearchConfig) -> list[Trial]:
        """Read all trials, in order.

        Raises:
            RunFolderError: a file is damaged.
        """
        found: list[Trial] = []
        while (self.trial_folder(len(found)) / "trial.json").is_file():
            found.append(self.trial(len(found), config))
        return found

    def trial(self, number: int, config: SearchConfig) -> Trial:
        """Read one trial.

        Raises:
            RunFolderError: a file is damaged.
        """
        folder = self.trial_folder(number)
        try:
            values = read_json(folder / "trial.json")["values"]
            if unknown := values.keys() - config.space.keys():
                raise RunFolderError(f"{folder}/trial.json: {', '.join(sorted(unknown))} is not searched")
            training = config.changed(values).training
        except (KeyError, TypeError, AttributeError) as error:
            raise RunFolderError(f"{folder}/trial.json: damaged: {error!r}") from None
        attempts = self.attempts(folder)
        return Trial(
            number,
            values,
            self.history(folder),
            attempts.reasons,
            attempts.failed,
            training.epochs,
            training.patience,
            training.min_delta,
        )

    def history(self, folder: Path) -> tuple[EpochRecord, ...]:
        """Read the epochs of a trial or a finalist."""
        return tuple(RunFolder(folder).history())

    def attempts(self, folder: Path) -> Attempts:
        """Read what went wrong with a trial or a finalist."""
        content = read_json(folder / "attempts.json")
        return Attempts(
            tuple(content.get("reasons", ())),
            tuple(content.get("num_epochs", ())),
            bool(content.get("failed", False)),
        )

    def write_attempts(self, folder: Path, attempts: Attempts) -> None:
        """Write down what went wrong with a trial or a finalist."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "attempts.json", vars(attempts))

    def correct(self, folder: Path) -> npt.NDArray[np.bool_] | None:
        """Return which validation images a finalist has right, bool (num_images,), or None before it is judged."""
        try:
            return np.load(folder / _CORRECT)  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None

    def remove_images(self) -> None:
        """Delete what the workers shared."""
        shutil.rmtree(self.images_path, ignore_errors=True)


def free_up(folders: Iterable[Path], budget_bytes: int) -> None:
    """Delete what runs need to go on from, then their weights, until all together fit; the first are kept longest.

    Args:
        folders: run folders, best first, of runs that nobody is training.
        budget_bytes: for their weights and states together.
    """
    folders = list(folders)
    files = [RunFolder(folder).weights_path for folder in folders]
    files += [RunFolder(folder).state_path for folder in folders]
    sizes = [file.stat().st_size if file.exists() else 0 for file in files]
    total = sum(sizes)
    for file, size in reversed(list(zip(files, sizes, strict=True))):
        if total <= budget_bytes:
            return
        file.unlink(missing_ok=True)
        total -= size
