"""The files of a search: everything that is known of it can be read from them."""

import platform
import shlex
import sys
import tomllib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from kilnet import hardware
from kilnet.config import differences
from kilnet.data.dataset import ImageDataset
from kilnet.errors import RunFolderError
from kilnet.storage import first_fitting, held, read_json, write_json, write_text
from kilnet.training.records import EpochRecord
from kilnet.training.run_folder import RunFolder
from kilnet.tuning.allocation import Allocation, settle
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.space import Values
from kilnet.tuning.trial import Trial


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
    finalists/0007-seed-1/  a run, and correct.npy: which validation images it classifies correctly
    images/        what the workers share; removed at the end
    logs/          what workers wrote on standard error
    study.sqlite3  a copy for Optuna's tools, where one is asked for
    search.csv, search.json  the summary
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
        """Hold the folder against other processes; raises what `kilnet.storage.held` does."""
        return held(self.path, "running this search")

    def begin(self, config: SearchConfig, environment: dict[str, Any]) -> None:
        """Write the configuration, and what else the search depends on."""
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
        """Read versions, machine, and the size and fingerprint of the data."""
        return read_json(self.environment_path)

    def run_folder(self, number: int, seed: int | None = None) -> Path:
        """Return the run folder of a trial, or of its training with one seed as a finalist."""
        name = f"trials/{number:04}" if seed is None else f"finalists/{number:04}-seed-{seed}"
        return self.path / name

    def add_trial(self, number: int, values: Values) -> None:
        """Write a proposed trial."""
        folder = self.run_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "trial.json", {"number": number, "values": values})

    def trials(self, config: SearchConfig) -> list[Trial]:
        """Read all trials, in order; raises what `trial` does."""
        found: list[Trial] = []
        while (self.run_folder(len(found)) / "trial.json").is_file():
            found.append(self.trial(len(found), config))
        return found

    def trial(self, number: int, config: SearchConfig) -> Trial:
        """Read one trial.

        Raises:
            RunFolderError: a file is damaged.
        """
        folder = self.run_folder(number)
        try:
            values = read_json(folder / "trial.json")["values"]
            if unknown := values.keys() - config.space.keys():
                raise RunFolderError(f"{folder}/trial.json: {', '.join(sorted(unknown))} is not searched")
            training = config.changed(values).training
        except (KeyError, TypeError, AttributeError) as error:
            raise RunFolderError(f"{folder}/trial.json: damaged: {error!r}") from None
        attempts = self.attempts(folder)
        return Trial(
            number=number,
            values=values,
            history=self.history(folder),
            reasons=attempts.reasons,
            failed=attempts.failed,
            num_epochs=training.epochs,
            patience=training.patience,
            min_delta=training.min_delta,
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
        """Write what went wrong with a trial or a finalist."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "attempts.json", vars(attempts))

    def correct(self, folder: Path) -> npt.NDArray[np.bool_] | None:
        """Return which validation images a finalist classifies correctly, bool (num_images,); None before its end."""
        try:
            return np.load(folder / "correct.npy")  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None


def free_up(folders: Iterable[Path], budget_bytes: int) -> None:
    """Delete what runs resume from, then their weights, until all together fit; the first are kept longest.

    Args:
        folders: run folders, best first, of runs that no worker is training.
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


def open_search(
    path: Path, asked: SearchConfig, workers: int | None, dataset: ImageDataset, own_models: frozenset[str]
) -> tuple[SearchFolder, Allocation]:
    """Return the folder of a search, begun here if there is none, and the workers that this machine gives it.

    Args:
        path: of the folder.
        asked: the search as it was asked for; one that was begun keeps what was settled then.
        workers, dataset, own_models: as for `settle`.

    Raises:
        RunFolderError: the folder holds another search, or this one on other data.
    """
    folder = SearchFolder(path)
    with folder.locked():
        if folder.exists:
            _refuse_another(folder, asked, dataset)
            asked = folder.config()
        config, allocation = settle(asked, workers, dataset, own_models, folder.logs_path)
        if not folder.exists:
            folder.begin(config, _environment(dataset))
    return folder, allocation


def differing(old: SearchConfig, new: SearchConfig) -> list[str]:
    """Return one line per key in which two searches differ: `key: old -> new`.

    Spaces are compared by what they mean; the order of their keys stays as the search was begun.
    """
    # The cohort may follow from the number of workers, which is free; space and run are compared key by key.
    was, now = (config.model_dump(exclude={"cohort", "run", "space"}) for config in (old, new))
    lines = [f"{key}: {was[key]} -> {now[key]}" for key in was if was[key] != now[key]]
    before, after = ({d.key: d for d in config.parsed_space().dimensions} for config in (old, new))
    lines += [
        f"space {key}: {old.space.get(key)} -> {new.space.get(key)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
    return lines + differences(old.run, new.run)


def free_search_folder(parent: Path, name: str, config: SearchConfig, fingerprint: str | None) -> Path:
    """Return where this search belongs: the folder that holds it already, else the first free name.

    Args:
        parent, name, fingerprint: as of `kilnet.training.session.free_folder`.
        config: of the search.
    """

    def fits(path: Path) -> bool:
        folder = SearchFolder(path)
        if not folder.exists:
            return True
        same_images = fingerprint is None or RunFolder(path).fingerprint() in (None, fingerprint)
        return same_images and not differing(folder.config(), config)

    return first_fitting(parent, name, fits)


def _refuse_another(folder: SearchFolder, asked: SearchConfig, dataset: ImageDataset) -> None:
    if lines := differing(folder.config(), asked):
        raise RunFolderError(
            f"{folder.path} holds another search ({'; '.join(lines)}); choose another `out`, or search as it was begun"
        )
    if RunFolder(folder.path).fingerprint() != dataset.fingerprint:
        raise RunFolderError(
            f"{folder.path}: the data is not what this search was begun with; choose another `out`"
        )


def _environment(dataset: ImageDataset) -> dict[str, object]:
    return {
        "kilnet": version("kilnet"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("torch", "numpy", "optuna")},
        "machine": hardware.machine(),
        "data": {
            "name": dataset.name,
            "classes": dataset.classes,
            "image_shape": dataset.image_shape,
            "num_train": len(dataset.train),
            "num_validation": len(dataset.validation),
            "fingerprint": dataset.fingerprint,
        },
        "command": shlex.join(sys.argv),
    }
