"""What a run keeps on disk, and who may write it."""

import csv
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from torch import Tensor

from kilnet.config import RunConfig
from kilnet.errors import RunFolderError
from kilnet.inference.classifier import read_tensors
from kilnet.storage import held, read_json, remove_leftovers, write_csv, write_json, write_text
from kilnet.training.records import EpochRecord

# With their types; how many images were validated is in environment.json.
_HISTORY_COLUMNS = {field.name: field.type for field in fields(EpochRecord) if field.name != "num_validation"}


class RunFolder:
    """The files of one run.

    config.toml       complete: training from it repeats the run
    environment.json  versions, hardware, what was measured, the data's fingerprint
    history.csv       one line per epoch; nothing in it depends on the clock
    timing.csv        seconds and images per second of each epoch
    weights.safetensors  of the epoch that is kept, with classes and preprocessing
    calibration.json  temperature and threshold of these weights, fitted on validation
    state/            to resume from
    evaluation.json   an entry for each evaluated split
    evaluation-SPLIT/ confusion.csv, per_class.csv, predictions.csv
    plots/            pictures, each with its numbers beside it
    report.html       all of it on one page
    folds/            trainings without a part of the images, each in a folder of its own
    exports/          files for other runtimes
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.toml"
        self.environment_path = path / "environment.json"
        self.history_path = path / "history.csv"
        self.timing_path = path / "timing.csv"
        self.weights_path = path / "weights.safetensors"
        self.calibration_path = path / "calibration.json"
        self.state_path = path / "state" / "state.safetensors"
        self.evaluation_path = path / "evaluation.json"
        self.report_path = path / "report.html"
        self.plots_path = path / "plots"
        self.learning_curves_path = self.plots_path / "learning-curves.png"

    def evaluation_table(self, split: str, name: Literal["confusion", "per_class", "predictions"]) -> Path:
        """Return where a table of an evaluated split lies; the split may be of other data, named by their path."""
        folder = re.sub(r"[^\w-]+", "-", split).strip("-")[-60:] or "data"
        return self.path / f"evaluation-{folder}" / f"{name}.csv"

    def evaluation_plot(self, split: str, name: str) -> Path:
        """Return where a picture of an evaluated split lies."""
        return self.plots_path / f"{name}-{'-'.join(split.split())}.png"

    def fold(self, number: int, num_folds: int) -> "RunFolder":
        """Return the run that was trained without one part of the images, numbered from 1."""
        return RunFolder(self.path / "folds" / f"{number}-of-{num_folds}")

    def export_path(self, export_format: str, name: str) -> Path:
        """Return where an exported file lies unless the user says otherwise."""
        return self.path / "exports" / export_format / name

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.config_path.is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and lock it against other processes; the system unlocks it when the process dies.

        Raises:
            BusyError: another process holds it.
            RunFolderError: it cannot be made or written.
        """
        with held(self.path, "writing this run"):
            try:
                self.state_path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise RunFolderError(f"{self.path}: cannot be written: {error.strerror or error}") from None
            remove_leftovers(self.state_path.parent)
            yield

    def begin(self, config: RunConfig, environment: dict[str, Any]) -> None:
        """Write what the run is; config.toml last, since it makes the folder a run."""
        write_json(self.environment_path, environment)
        write_text(self.config_path, config.to_toml())

    def config(self) -> RunConfig:
        """Read the configuration.

        Raises:
            RunFolderError: it is missing or not readable.
        """
        try:
            return RunConfig.model_validate(tomllib.loads(self.config_path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise RunFolderError(f"{self.path}: no run here (no config.toml)") from None
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunFolderError(
                f"{self.config_path}: not a configuration that Kilnet wrote: {reason}"
            ) from None

    def environment(self) -> dict[str, Any]:
        """Read versions, hardware and the data's fingerprint; empty where the file is missing or damaged."""
        return read_json(self.environment_path)

    def fingerprint(self) -> str | None:
        """Read the fingerprint of the images that the run, or the search, was begun with."""
        data = self.environment().get("data")
        return data.get("fingerprint") if isinstance(data, dict) else None

    def history(self) -> list[EpochRecord]:
        """Read the epochs so far, oldest first."""
        num_validation = self.environment().get("data", {}).get("num_validation", 0)
        try:
            return [_record(row, num_validation) for row in _rows(self.history_path)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{self.history_path}: not a history that Kilnet wrote: {error}") from None

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the state, or None before the first was saved.

        Raises:
            RunFolderError: the file is damaged.
        """
        if not self.state_path.exists():
            return None
        try:
            return read_tensors(self.state_path)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{self.state_path}: damaged ({error}); delete it to begin again") from None

    def write_history(self, history: list[EpochRecord]) -> None:
        """Write history.csv; floats in full, so that reading gives the same numbers."""
        rows = ([getattr(record, name) for name in _HISTORY_COLUMNS] for record in history)
        write_csv(self.history_path, _HISTORY_COLUMNS, rows, "\n")

    def timings(self) -> list[dict[str, float]]:
        """Read seconds and images per second of each epoch; empty where the file is missing or damaged."""
        try:
            return [{key: float(value) for key, value in row.items()} for row in _rows(self.timing_path)]
        except (OSError, ValueError, TypeError):
            return []

    def add_timing(self, epoch: int, seconds: float, num_images: int) -> None:
        """Append a line to timing.csv, replacing an older one of the same epoch."""
        rows = _rows(self.timing_path) if self.timing_path.exists() else []
        others = [row.values() for row in rows if row.get("epoch") != str(epoch)]
        timing = (epoch, round(seconds, 3), round(num_images / seconds, 1))
        write_csv(self.timing_path, ("epoch", "seconds", "images_per_second"), [*others, timing], "\n")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _record(row: dict[str, str], num_validation: int) -> EpochRecord:
    readers: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: lambda text: text == "True"}
    values = {name: readers[kind](row[name]) for name, kind in _HISTORY_COLUMNS.items()}
    return EpochRecord(num_validation=num_validation, **values)
