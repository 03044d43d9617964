"""What a run keeps on disk, and who may write it."""

import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor

from kilnet.config import RunConfig
from kilnet.data.corrections import AppliedCorrections
from kilnet.data.dataset import ImageDataset
from kilnet.errors import RunFolderError
from kilnet.folders import Part, inside
from kilnet.inference.kept_tensors import read_description, read_tensors
from kilnet.recipes.reading import tables_in
from kilnet.storage import (
    Text,
    held,
    make_folder,
    parse_csv,
    read_json,
    read_text,
    reading,
    remove,
    sealed,
    unsealed,
    write_csv,
    write_json,
    write_text,
)
from kilnet.training.records import EpochRecord

# With their types; how many images were validated is in environment.json.
_MACRO_RECALL = "validation_macro_recall"  # a column only where epochs are chosen by it
_HISTORY_COLUMNS = {
    field.name: field.type
    for field in fields(EpochRecord)
    if field.name not in ("num_validation", _MACRO_RECALL)
}
_HISTORY: TypeAdapter[list[EpochRecord]] = TypeAdapter(list[EpochRecord])
STATE_ADVICE = "delete it to begin again"


class _Data(BaseModel):
    """What environment.json says of the images, as far as it is read."""

    name: Text | None = None
    classes: list[Text] = []
    image_shape: list[int] = []
    num_train: int = 0
    num_validation: int = 0
    num_train_per_class: list[int] = []
    fingerprint: str | None = None
    warnings: list[Text] = []
    corrections: dict[str, Any] = {}


class _Environment(BaseModel):
    model_config = ConfigDict(strict=True)

    packages: dict[str, str] = {}
    settings: dict[str, Any] = {}
    data: _Data = _Data()
    command: Text = ""
    plan: dict[str, Any] = {}


class _State(BaseModel):
    """What is read of a state beside its tensors; with a budget there is more."""

    model_config = ConfigDict(strict=True)

    num_epochs_done: int
    num_steps_done: int
    is_over: bool = False
    loss_sum: float
    num_correct: int
    num_images: int
    best_loss: float
    num_bad: int
    history: list[dict[str, Any]]


class RunFolder:
    """The files of one run.

    config.toml       complete: training from it repeats the run
    environment.json  versions, hardware, what was measured, the data's fingerprint
    history.csv       one line per epoch; nothing in it depends on the clock
    timing.csv        seconds and images per second of each epoch
    weights.safetensors  of the epoch that is kept, with classes and preprocessing
    calibration.json  temperature, power and threshold of these weights, fitted on validation
    state/            to resume from; history.json once a search has deleted that, to save space
    evaluation.json   an entry for each evaluated split
    evaluation-SPLIT/ confusion.csv, per_class.csv, predictions.csv
    plots/            pictures, each with its numbers beside it
    report.html       all of it on one page
    folds/            trainings without a part of the images, each in a folder of its own; predictions-of-K.csv and
                      summary-of-K.json are of all K of them
    exports/          files for other runtimes
    corrections.csv   what a person says of labels that `kilnet review` shows
    corrections-used.csv  the table of corrections that the run was trained with
    labels.csv        labelled pictures, with those that were labelled in a review, to train on;
                      labels-answers.csv is what a person said of each of those
    """

    config_path = Part("config.toml")
    environment_path = Part("environment.json")
    history_path = Part("history.csv")
    timing_path = Part("timing.csv")
    weights_path = Part("weights.safetensors")
    calibration_path = Part("calibration.json")
    state_path = Part("state/state.safetensors")
    kept_history_path = Part("state/history.json")
    evaluation_path = Part("evaluation.json")
    corrections_path = Part("corrections.csv")
    used_corrections_path = Part("corrections-used.csv")
    labels_path = Part("labels.csv")
    report_path = Part("report.html")
    plots_path = Part("plots")
    learning_curves_path = Part("plots/learning-curves.png")

    def __init__(self, path: Path) -> None:
        self.path = path

    def evaluation_table(self, split: str, name: Literal["confusion", "per_class", "predictions"]) -> Path:
        """Return where a table of an evaluated split lies; the split may be of other data, named by their path."""
        folder = re.sub(r"[^\w-]+", "-", split).strip("-")[-60:] or "data"
        return inside(self.path, f"evaluation-{folder}/{name}.csv")

    def evaluation_plot(self, split: str, name: str) -> Path:
        """Return where a picture of an evaluated split lies."""
        return self.plots_path / f"{name}-{'-'.join(split.split())}.png"

    def inspection_path(self, name: str, kind: Literal["png", "csv"]) -> Path:
        """Return where a picture of `kilnet inspect` lies, or the numbers in it."""
        return self.plots_path / f"{name}.{kind}"

    def fold(self, number: int, num_folds: int) -> "RunFolder":
        """Return the run that was trained without one part of the images, numbered from 1."""
        return RunFolder(inside(self.path, f"folds/{number}-of-{num_folds}"))

    def folds_file(self, num_folds: int, name: str) -> Path:
        """Return where something about all of so many folds lies: predictions.csv, summary.json, a folder of images."""
        stem, dot, ending = name.partition(".")
        return inside(self.path, f"folds/{stem}-of-{num_folds}{dot}{ending}")

    def export_path(self, export_format: str, name: str) -> Path:
        """Return where an exported file lies unless the user says otherwise."""
        return inside(self.path, f"exports/{export_format}/{name}")

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.config_path.exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and lock it against other processes; the system unlocks it when the process dies.

        Raises:
            BusyError: another process holds it.
            RunFolderError: it cannot be made or written.
        """
        with held(self.path, "writing this run"):
            make_folder(self.state_path.parent)
            yield

    def begin(
        self, config: RunConfig, environment: dict[str, Any], corrections: AppliedCorrections | None = None
    ) -> None:
        """Write what the run is; config.toml last, since it makes the folder a run."""
        if corrections is not None:  # a copy, because a person may go on with the other
            write_text(self.used_corrections_path, corrections.content)
        write_environment(self.environment_path, environment)
        write_text(self.config_path, config.to_toml())

    def config(self) -> RunConfig:
        """Read the configuration.

        Raises:
            RunFolderError: it is missing, incomplete or not readable.
        """
        try:
            with reading(
                self.config_path, "train into another folder", "not a configuration that Kilnet wrote"
            ):
                config = read_config(tables_in(self.config_path))
        except FileNotFoundError:
            raise RunFolderError(f"{self.path}: no run here (no config.toml)") from None
        return config

    def environment(self) -> dict[str, Any]:
        """Read versions, hardware and the data's fingerprint; empty where the file is missing.

        Raises:
            RunFolderError: it is damaged.
        """
        return read_environment(self.environment_path)

    def fingerprint(self) -> str | None:
        """Read the fingerprint of the images that the run, or the search, was begun with; raises as `environment`."""
        found: str | None = self.environment().get("data", {}).get("fingerprint")
        return found

    def history(self) -> list[EpochRecord]:
        """Read the epochs so far, oldest first.

        They are read from the state, which has a checksum; where it was deleted or is damaged, from history.csv, which
        is for people.

        Raises:
            RunFolderError: what there is instead of the state is damaged.
        """
        with suppress(RunFolderError, FileNotFoundError):
            return self._read_history(self.state_path, self._description()["history"])
        if not self.state_path.exists():  # else it is of a training that has begun again
            with (
                suppress(FileNotFoundError),
                reading(self.kept_history_path, "delete it: history.csv has the same"),
            ):
                return self._read_history(
                    self.kept_history_path, unsealed(read_json(self.kept_history_path))["history"]
                )
        num_validation = self._num_validation()
        with suppress(FileNotFoundError), reading(self.history_path, "train again into another folder"):
            return [_record(row, num_validation) for row in parse_csv(read_text(self.history_path))]
        return []

    def _read_history(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> list[EpochRecord]:
        with reading(path, STATE_ADVICE):
            # Earlier versions did not write how many images were validated.
            counted = [
                row if "num_validation" in row else {**row, "num_validation": self._num_validation()}
                for row in rows
            ]
            return _HISTORY.validate_python(counted)

    def _num_validation(self) -> int:
        found: int = self.environment().get("data", {}).get("num_validation", 0)
        return found

    @property
    def has_state(self) -> bool:
        """Whether there is something to resume from."""
        return self.state_path.is_file()

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the state, or None before the first was saved.

        Raises:
            RunFolderError: the file is damaged.
        """
        try:
            tensors, rest = read_tensors(self.state_path, STATE_ADVICE)
        except FileNotFoundError:
            return None
        with reading(self.state_path, STATE_ADVICE):
            _State.model_validate(rest)
        return tensors, rest

    def progress(self) -> dict[str, Any] | None:
        """Read what the state says beside its tensors; None before the first was saved. Raises as `load_state`."""
        try:
            return self._description()
        except FileNotFoundError:
            return None

    def _description(self) -> dict[str, Any]:
        rest = read_description(self.state_path, STATE_ADVICE)
        with reading(self.state_path, STATE_ADVICE):
            _State.model_validate(rest)
        return rest

    def delete_state(self) -> None:
        """Delete what the run resumes from; its epochs are kept with a checksum."""
        if history := self.history():
            write_json(self.kept_history_path, sealed({"history": [record.to_dict() for record in history]}))
        remove(self.state_path)

    def write_history(self, history: list[EpochRecord]) -> None:
        """Write history.csv; floats in full, so that reading gives the same numbers."""
        has_macro_recall = any(record.validation_macro_recall is not None for record in history)
        columns = [*_HISTORY_COLUMNS, *([_MACRO_RECALL] if has_macro_recall else [])]
        rows = ([getattr(record, name) for name in columns] for record in history)
        write_csv(self.history_path, columns, rows, "\n")

    def timings(self) -> list[dict[str, float]]:
        """Read seconds and images per second of each epoch; empty where the file is missing or damaged."""
        with suppress(RunFolderError, FileNotFoundError), reading(self.timing_path, "it is written again"):
            return [
                {name: float(row[name]) for name in _TIMING_COLUMNS}
                for row in parse_csv(read_text(self.timing_path))
            ]
        return []

    def add_timing(self, epoch: int, seconds: float, num_images: int) -> None:
        """Append a line to timing.csv, replacing an older one of the same epoch; a damaged file is begun again."""
        others: list[list[str]] = []
        with suppress(RunFolderError, FileNotFoundError), reading(self.timing_path, "it is written again"):
            rows = parse_csv(read_text(self.timing_path))
            others = [[row[name] for name in _TIMING_COLUMNS] for row in rows if row["epoch"] != str(epoch)]
        timing = (epoch, round(seconds, 3), round(num_images / seconds, 1))
        write_csv(self.timing_path, _TIMING_COLUMNS, [*others, timing], "\n")


def read_config(tree: Mapping[str, Any]) -> RunConfig:
    """Return a complete configuration as `RunConfig.to_toml` wrote it.

    Raises:
        ValueError: a part is missing, whose default would say something else than the run did; or it is not allowed.
    """
    for part, last in (
        ("data", "source"),
        ("model", "name"),
        ("training", "epochs"),
        ("hardware", "threads"),
    ):
        if not isinstance(tree.get(part), dict) or last not in tree[part]:
            raise ValueError(f"{part}.{last} is missing")
    # Earlier versions split pictures that show nearly the same, and gave grey ones three channels.
    data = {"near_duplicates": "apart", "channels": "colour", **tree["data"]}
    return RunConfig.model_validate({**tree, "data": data})


def environment_of(dataset: ImageDataset, packages: Sequence[str], machine: str) -> dict[str, Any]:
    """Return what a run or a search depends on beside its configuration."""
    return {
        "kilnet": version("kilnet"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "system": platform.platform(),
        "machine": machine,
        "data": {
            "name": dataset.name,
            "classes": dataset.classes,
            "image_shape": dataset.image_shape,
            "num_train": len(dataset.train),
            "num_validation": len(dataset.validation),
            "num_train_per_class": np.bincount(dataset.train.labels, minlength=len(dataset.classes)).tolist(),
            "fingerprint": dataset.fingerprint,
            "warnings": dataset.warnings,
            **({"corrections": _corrections_of(dataset.corrections)} if dataset.corrections else {}),
        },
        "command": shlex.join(
            ["kilnet" if sys.argv[0].endswith("__main__.py") else sys.argv[0], *sys.argv[1:]]
        ),
    }


def _corrections_of(applied: AppliedCorrections) -> dict[str, Any]:
    return {
        "file": applied.path,
        "sha256": applied.sha256,
        "changed": applied.changed,
        "removed": applied.removed,
        "told": applied.told,
    }


def write_environment(path: Path, environment: Mapping[str, Any]) -> None:
    """Write environment.json of a run or a search."""
    write_json(path, sealed(environment))


def read_environment(path: Path) -> dict[str, Any]:
    """Read environment.json of a run or a search; empty where it is missing.

    Raises:
        RunFolderError: it is damaged.
    """
    with suppress(FileNotFoundError), reading(path, "train again into another folder"):
        content = unsealed(read_json(path))
        _Environment.model_validate(content)
        return content
    return {}


_TIMING_COLUMNS = ("epoch", "seconds", "images_per_second")


def _record(row: dict[str, str], num_validation: int) -> EpochRecord:
    readers: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: _truth}
    values = {name: readers[kind](row[name]) for name, kind in _HISTORY_COLUMNS.items()}
    if row.get(_MACRO_RECALL):
        values[_MACRO_RECALL] = float(row[_MACRO_RECALL])
    return EpochRecord(num_validation=num_validation, **values)


def _truth(text: str) -> bool:
    return {"True": True, "False": False}[text]
