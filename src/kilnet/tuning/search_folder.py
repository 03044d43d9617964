"""The files of a search: everything that is known of it can be read from them."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter

from kilnet import hardware
from kilnet.data.dataset import ImageDataset
from kilnet.errors import RunFolderError
from kilnet.folders import Part, inside
from kilnet.recipes.changes import differences
from kilnet.recipes.reading import tables_in
from kilnet.runs.listing import SEARCH, is_search
from kilnet.storage import (
    Text,
    first_fitting,
    held,
    make_folder,
    read_json,
    reading,
    remove,
    sealed,
    unsealed,
    write_json,
    write_text,
)
from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.training.run_folder import (
    RunFolder,
    environment_of,
    read_config,
    read_environment,
    write_environment,
)
from kilnet.tuning.allocation import Allocation, Measure, settle
from kilnet.tuning.backends.shared_images import read_array
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.space import Values
from kilnet.tuning.trial import Trial

ATTEMPTS = "attempts.json"
_AGAIN = "search again into another folder"
_EARLY: TypeAdapter[list[EarlyRecord]] = TypeAdapter(list[EarlyRecord])


class _Trial(BaseModel):
    model_config = ConfigDict(strict=True)

    number: NonNegativeInt
    values: dict[str, Any]


class _Attempts(BaseModel):
    model_config = ConfigDict(strict=True)

    reasons: list[Text] = []
    num_epochs: list[int] = []
    failed: bool = False


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
    trials/0007/   a run, and trial.json: its values; attempts.json: what went wrong; early.json: its validations
                   within the first epoch
    finalists/0007-seed-1/  a run, and correct.npy: which validation images it classifies correctly
    images/        what the workers share; removed at the end
    logs/          what workers wrote on standard error
    study.sqlite3  a copy for Optuna's tools, where one is asked for
    search.csv, search.json  the summary
    """

    config_path = Part(SEARCH)
    environment_path = Part("environment.json")
    images_path = Part("images")
    logs_path = Part("logs")
    study_path = Part("study.sqlite3")
    table_path = Part("search.csv")
    summary_path = Part("search.json")
    report_path = Part("report.html")

    def __init__(self, path: Path) -> None:
        self.path = path

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder against other processes; raises what `kilnet.storage.held` does."""
        return held(self.path, "running this search")

    def begin(self, config: SearchConfig, environment: dict[str, Any]) -> None:
        """Write the configuration, and what else the search depends on."""
        write_environment(self.environment_path, environment)
        write_text(self.config_path, config.to_toml())

    def config(self) -> SearchConfig:
        """Read the configuration.

        Raises:
            RunFolderError: it is missing or not readable.
        """
        try:
            with reading(self.config_path, _AGAIN, "not a search that Kilnet wrote"):
                tree = tables_in(self.config_path)
                read_config(tree["run"])
                config = SearchConfig.model_validate(tree)
        except FileNotFoundError:
            raise RunFolderError(f"{self.path}: no search here (no search.toml)") from None
        return config

    def environment(self) -> dict[str, Any]:
        """Read versions, machine, and the size and fingerprint of the data."""
        return read_environment(self.environment_path)

    def run_folder(self, number: int, seed: int | None = None) -> Path:
        """Return the run folder of a trial, or of its training with one seed as a finalist."""
        name = f"trials/{number:04}" if seed is None else f"finalists/{number:04}-seed-{seed}"
        return inside(self.path, name)

    def finetuned(self) -> list[Path]:
        """Return the runs that fine-tuned the winner, the newest first."""
        return sorted((inside(self.path, path.name) for path in self.path.glob("finetuned*")), reverse=True)

    def add_trial(self, number: int, values: Values) -> None:
        """Write a proposed trial."""
        folder = self.run_folder(number)
        make_folder(folder, parents=True)
        write_json(_trial_path(folder), sealed({"number": number, "values": values}))

    def trials(self, config: SearchConfig) -> list[Trial]:
        """Read all trials, in order; raises what `trial` does."""
        found: list[Trial] = []
        while _trial_path(self.run_folder(len(found))).exists():
            found.append(self.trial(len(found), config))
        missing = self.run_folder(len(found))
        if RunFolder(missing).exists or len(list(self.path.glob("trials/*/trial.json"))) > len(found):
            raise RunFolderError(f"{_trial_path(missing)}: missing, though the trial was begun; {_AGAIN}")
        return found

    def trial(self, number: int, config: SearchConfig) -> Trial:
        """Read one trial.

        Raises:
            RunFolderError: a file is damaged.
        """
        folder = self.run_folder(number)
        path = _trial_path(folder)
        with reading(path, _AGAIN):
            values: Values = _Trial.model_validate(unsealed(read_json(path))).values
            if unknown := values.keys() - config.space.keys():
                raise RunFolderError(f"{path}: {', '.join(sorted(unknown))} is not searched")
        training = config.changed(values).training
        attempts = self.attempts(folder)
        return Trial(
            number=number,
            values=values,
            history=self.history(folder),
            early=early_records(folder),
            reasons=attempts.reasons,
            failed=attempts.failed,
            num_epochs=training.epochs,
            patience=training.patience,
            min_delta=training.min_delta,
            select=training.select,
        )

    def again(self, trial: Trial) -> Trial:
        """Read what may have changed of a trial: its epochs, and what went wrong; raises what `trial` does."""
        folder = self.run_folder(trial.number)
        attempts = self.attempts(folder)
        return replace(
            trial,
            history=self.history(folder),
            early=early_records(folder),
            reasons=attempts.reasons,
            failed=attempts.failed,
        )

    def history(self, folder: Path) -> tuple[EpochRecord, ...]:
        """Read the epochs of a trial or a finalist."""
        return tuple(RunFolder(folder).history())

    def attempts(self, folder: Path) -> Attempts:
        """Read what went wrong with a trial or a finalist."""
        path = _attempts_path(folder)
        with suppress(FileNotFoundError), reading(path, "delete it: the run is tried again"):
            found = _Attempts.model_validate(unsealed(read_json(path)))
            return Attempts(tuple(found.reasons), tuple(found.num_epochs), found.failed)
        return Attempts()

    def write_attempts(self, folder: Path, attempts: Attempts) -> None:
        """Write what went wrong with a trial or a finalist."""
        make_folder(folder, parents=True)
        write_json(_attempts_path(folder), sealed(vars(attempts)))

    def correct(self, folder: Path) -> npt.NDArray[np.bool_ | np.float64] | None:
        """Return which validation images a finalist classifies correctly, bool (num_images,); None before its end.

        Where trials are chosen by macro recall, float64: what each image that is right adds to it, times their number.

        Raises:
            RunFolderError: the file is damaged.
        """
        path = correct_path(folder)
        with suppress(FileNotFoundError), reading(path, "delete it: the same search makes it again"):
            found = read_array(path)
            num_images = self.environment().get("data", {}).get("num_validation", found.size)
            if found.dtype not in (np.bool_, np.float64) or found.shape != (num_images,):
                raise ValueError(f"{found.dtype} {found.shape} instead of bool ({num_images},)")
            return found
        return None


def correct_path(folder: Path) -> Path:
    """Return where a finalist's `SearchFolder.correct` lies."""
    return inside(folder, "correct.npy")


def early_path(folder: Path) -> Path:
    """Return where a trial's validations within the first epoch lie."""
    return inside(folder, "early.json")


def early_records(folder: Path) -> tuple[EarlyRecord, ...]:
    """Read a trial's validations within the first epoch, oldest first.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = early_path(folder)
    with suppress(FileNotFoundError), reading(path, _AGAIN):
        return tuple(_EARLY.validate_python(unsealed(read_json(path))["records"]))
    return ()


def add_early(folder: Path, record: EarlyRecord) -> None:
    """Write a validation within the first epoch beside those before it."""
    records = [asdict(other) for other in (*early_records(folder), record)]
    write_json(early_path(folder), sealed({"records": records}))


def _trial_path(folder: Path) -> Path:
    return inside(folder, "trial.json")


def _attempts_path(folder: Path) -> Path:
    return inside(folder, ATTEMPTS)


def num_bytes(folder: Path) -> int:
    """Return how large a run's weights are together with what it resumes from."""
    run = RunFolder(folder)
    return sum(file.stat().st_size for file in (run.weights_path, run.state_path) if file.is_file())


def free_up(folders: Iterable[Path], budget_bytes: int) -> None:
    """Delete what runs resume from, then their weights, until all together fit; the first are kept longest.

    Args:
        folders: run folders, best first, of runs that no worker is training.
        budget_bytes: for their weights and states together.
    """
    runs = [RunFolder(folder) for folder in folders]
    parts: list[tuple[Path, Callable[[], None]]] = []
    parts += [(run.weights_path, partial(remove, run.weights_path)) for run in runs]
    parts += [(run.state_path, run.delete_state) for run in runs]
    sizes = [file.stat().st_size if file.is_file() else 0 for file, _ in parts]
    total = sum(sizes)
    for (_, delete), size in reversed(list(zip(parts, sizes, strict=True))):
        if total <= budget_bytes:
            return
        if size:
            delete()
        total -= size


def open_search(
    path: Path,
    asked: SearchConfig,
    workers: int | None,
    dataset: ImageDataset,
    own_models: frozenset[str],
    measure: Measure | None = None,
) -> tuple[SearchFolder, Allocation]:
    """Return the folder of a search, begun here if there is none, and the workers that this machine gives it.

    Args:
        path: of the folder.
        asked: the search as it was asked for; one that was begun keeps what was settled then.
        workers, dataset, own_models, measure: as for `settle`.

    Raises:
        RunFolderError: the folder holds another search, or this one on other data.
    """
    folder = SearchFolder(path)
    with folder.locked():
        if is_search(path):
            _refuse_another(folder, asked, dataset)
            asked = folder.config()
        config, allocation = settle(asked, workers, dataset, own_models, folder.logs_path, measure)
        if not is_search(path):
            packages = ("torch", "numpy", "optuna")
            folder.begin(config, environment_of(dataset, packages, hardware.machine()))
    return folder, allocation


def differing(old: SearchConfig, new: SearchConfig) -> list[str]:
    """Return one line per key in which two searches differ: `key: old -> new`.

    Spaces are compared by what they mean; the order of their keys stays as the search was begun.
    """
    # Cohort and rungs follow from what the search was begun with; space and run are compared key by key.
    was, now = (config.model_dump(exclude={"cohort", "rungs", "run", "space"}) for config in (old, new))
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
        if not is_search(path):
            return True
        folder = SearchFolder(path)
        same_images = fingerprint is None or RunFolder(path).fingerprint() in (None, fingerprint)
        return same_images and not differing(folder.config(), config)

    return first_fitting(parent, name, fits)


def _refuse_another(folder: SearchFolder, asked: SearchConfig, dataset: ImageDataset) -> None:
    if lines := differing(folder.config(), asked):
        raise RunFolderError(
            f"{folder.path} holds another search ({'; '.join(lines)}); choose another `out`, or search as it was begun"
        )
    if (begun_with := RunFolder(folder.path).fingerprint()) is None:
        raise RunFolderError(
            f"{folder.environment_path}: missing, so nobody knows with which data this search was begun; "
            "choose another `out`"
        )
    if begun_with != dataset.fingerprint:
        raise RunFolderError(
            f"{folder.path}: the data is not what this search was begun with; choose another `out`"
        )
