"""Every run and search below a folder, read in a millisecond each and without torch.

What is read here is shown and compared, and nothing is trained from it, so checksums are not verified. `kilnet report`
and `kilnet evaluate` verify what they read.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from kilnet.errors import InputError
from kilnet.storage import MAX_JSON_BYTES, given_path, read_bytes, read_text

# As `RunFolder` and `SearchFolder` have them, which need torch; the tests compare them.
CONFIG, ENVIRONMENT, HISTORY, TIMING = "config.toml", "environment.json", "history.csv", "timing.csv"
EVALUATION, REPORT, STATE, SEARCH, SUMMARY = (
    "evaluation.json",
    "report.html",
    "state/state.safetensors",
    "search.toml",
    "search.json",
)
_MAX_TEXT_BYTES = 1 << 24
_MAX_DEPTH = 8  # folders below the one that is listed
_LINE = re.compile(r"^(?:\[([\w.-]+)\]|([\w-]+) = (.+(?:\n[ \]].*)*))$", re.MULTILINE)
_LAST_COMMA = re.compile(r",(\s*\])")


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run or search.

    Attributes:
        path: its folder, as reached from the one that was listed.
        kind: what it is.
        values: by name. `status` ("finished", "unfinished" or "damaged"), `modified` (when its numbers last changed),
            `data`, `model`, `epochs`, `best_epoch`, `accuracy`, `loss` (on validation, of the weights that are kept),
            `num_validation`, `num_validation_correct`, `train_loss`, `seconds`, `images_per_second`,
            `num_parameters`; of an unfinished search `num_trials_begun` and the numbers of the best trial so far;
            `test.accuracy` and all else of evaluations, behind the name of the split; and every
            setting by its dotted key. What is not known is not there.
    """

    path: Path
    kind: Literal["run", "search"]
    values: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-able values."""
        return {"path": str(self.path), "kind": self.kind, **self.values}


Signature = tuple[object, ...]
Known = dict[Path, tuple[Signature, ListedRun]]
"""What was read before, by folder, with what its files looked like then."""


def places_of(folder: str | Path | None = None) -> tuple[Path, ...]:
    """Return the folders that are looked into for one that was asked for; raises as `found_below`."""
    if folder is None:
        usual = tuple(place for place in (Path("runs"), Path("searches")) if place.is_dir())
        return usual or (Path(),)
    place = given_path(folder)
    if not place.is_dir():
        raise InputError(f"{place}: no such folder")
    return (place,)


def found_below(folder: str | Path | None = None, known: Known | None = None) -> tuple[ListedRun, ...]:
    """Return every run and search below a folder, the newest first; what lies inside of one is a part of it.

    Links are not followed, and hidden folders not looked into.

    Args:
        folder: by default `runs` and `searches` in the current folder, or the current folder where both are missing.
        known: what was read before; runs whose files have not changed are taken from it, and it is kept up to date.

    Raises:
        InputError: there is no such folder.
    """
    found = [one for place in places_of(folder) for one in _below(place, _MAX_DEPTH, known)]
    return tuple(sorted(found, key=lambda one: (one.values["modified"], str(one.path)), reverse=True))


def is_search(folder: Path) -> bool:
    """Whether a folder is that of a search; said without what a search needs, which takes a second to import."""
    return (folder / SEARCH).is_file()


Files = Mapping[str, "os.DirEntry[str]"]


def _below(folder: Path, depth: int, known: Known | None) -> Iterator[ListedRun]:
    try:
        with os.scandir(folder) as entries:
            files = {entry.name: entry for entry in entries}
    except OSError:  # of somebody else
        return
    if SEARCH in files:
        yield _remembered(folder, "search", files, known)
    elif CONFIG in files and files.keys() & {ENVIRONMENT, HISTORY, "state"}:
        yield _remembered(folder, "run", files, known)
    elif depth:
        for name, entry in sorted(files.items()):
            if not name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield from _below(folder / name, depth - 1, known)


def _remembered(folder: Path, kind: Literal["run", "search"], files: Files, known: Known | None) -> ListedRun:
    if known is None:
        return _read(folder, kind, files)
    before, signature = known.get(folder), _signature(folder, files)
    if before is not None and before[0] == signature:
        return before[1]
    run = _read(folder, kind, files)
    if kind == "run" or run.values["status"] == "finished":  # the trials of others go on below
        known[folder] = signature, run
    return run


def _signature(folder: Path, files: Files) -> Signature:
    """Return what differs as soon as one of the files that are read has been replaced."""
    found: list[object] = []
    for name in (CONFIG, ENVIRONMENT, HISTORY, TIMING, EVALUATION, SEARCH, SUMMARY, STATE):
        with suppress(OSError, KeyError):
            about = (folder / STATE).stat() if name is STATE else files[name].stat()
            found.append((name, about.st_mtime_ns, about.st_size, about.st_ino))
    return tuple(found)


def _read(folder: Path, kind: Literal["run", "search"], files: Files) -> ListedRun:
    values: dict[str, Any] = {"status": "damaged", "modified": _modified(files)}
    with suppress(Exception):  # whatever anybody has written there: the others are listed
        values.update(_of_search(folder, files) if kind == "search" else _of_run(folder, files))
    return ListedRun(path=folder, kind=kind, values=values)


def _of_run(folder: Path, files: Files) -> dict[str, Any]:
    values = _settings(read_text(folder / CONFIG, _MAX_TEXT_BYTES))
    environment = _json(folder / ENVIRONMENT) if ENVIRONMENT in files else {}
    data = environment.get("data", {})
    history = read_history(folder) if HISTORY in files else []
    values |= {
        "data": data.get("name", values.get("data.source")),
        "model": values["model.name"],
        "num_validation": data.get("num_validation"),
        "num_parameters": environment.get("num_parameters"),
        "fingerprint": data.get("fingerprint"),
        "epochs": int(history[-1]["epoch"]) if history else 0,
    }
    values |= _kept(history)
    if TIMING in files and (timings := _table(folder / TIMING)):
        seconds = sum(float(row["seconds"]) for row in timings)
        num_images = sum(float(row["seconds"]) * float(row["images_per_second"]) for row in timings)
        values |= {
            "seconds": round(seconds, 3),
            "images_per_second": round(num_images / seconds, 1) if seconds else 0,
        }
    if EVALUATION in files:
        values |= _metrics(folder)
    values["status"] = "finished" if _is_finished(folder, values) else "unfinished"
    return {key: value for key, value in values.items() if value is not None}


def _kept(history: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the numbers of the epoch whose weights are kept; nothing before there is one."""
    kept = [row for row in history if row["is_best"] == "True"][-1:]
    return {
        name: value
        for row in kept
        for name, value in {
            "best_epoch": int(row["epoch"]),
            "accuracy": float(row["validation_accuracy"]),
            "loss": float(row["validation_loss"]),
            "num_validation_correct": int(row["num_validation_correct"]),
            "train_loss": float(row["train_loss"]),
        }.items()
    }


def read_history(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a run's history.csv as texts by column, the first epoch first; empty before there is one."""
    return _table(folder / HISTORY)


def _is_finished(folder: Path, values: Mapping[str, Any]) -> bool:
    if values["epochs"] >= values["training.epochs"] and "budget.seconds" not in values:
        return True
    if values.get("training.frozen") == "features" and "accuracy" in values:
        return True
    rest = _state(folder)
    patience = values.get("training.patience")
    is_over = rest.get("is_over", rest.get("num_epochs_done", 0) >= values["training.epochs"])
    return bool(is_over or (patience is not None and rest.get("num_bad", 0) >= patience))


def _of_search(folder: Path, files: Files) -> dict[str, Any]:
    tree = tomllib.loads(read_text(folder / SEARCH, _MAX_TEXT_BYTES))
    values = _flat(tree["run"])
    summary = _json(folder / SUMMARY) if SUMMARY in files else {}
    data = _json(folder / ENVIRONMENT).get("data", {})
    values |= {
        "status": "finished" if summary.get("is_complete") else "unfinished",
        "data": data.get("name", values.get("data.source")),
        "model": values["model.name"],
        "strategy": tree["strategy"],
        "num_trials": tree["num_trials"],
        "epochs": values["training.epochs"],
        "seconds": summary.get("seconds"),
        "num_validation": data.get("num_validation"),
        "fingerprint": data.get("fingerprint"),
    }
    trials = summary.get("trials", [])
    best = next((row for row in trials if row["number"] == summary.get("winner")), None)
    if best is not None:
        values |= {"accuracy": best["accuracy"], "loss": best["loss"], "interval": best["accuracy_interval"]}
        values |= best["values"]
        values["model"] = values["model.name"]
    if winner := summary.get("winner_folder"):
        values |= _metrics(_moved(folder, winner))
    if not summary.get("is_complete"):  # the summary is written when a search stops
        values |= _so_far(folder)
    return {key: value for key, value in values.items() if value is not None}


def _so_far(folder: Path) -> dict[str, Any]:
    """Return how many trials an unfinished search has begun, and the numbers of the best."""
    trials = _trials(folder)
    found = [kept for trial in trials if (kept := _kept(_quietly(trial)))]
    best = max(found, key=lambda kept: kept["accuracy"], default={})
    told: dict[str, Any] = {
        name: best[name] for name in ("accuracy", "loss", "num_validation_correct") if name in best
    }
    return {"num_trials_begun": len(trials), **told, **({"interval": None} if told else {})}


def run_behind(run: ListedRun) -> Path | None:
    """Return the run whose epochs stand for a listed one: itself, or of a search its best trial so far."""
    if run.kind == "run":
        return run.path
    with suppress(Exception):  # as for listing: whatever anybody has written there
        if (summary := _json(run.path / SUMMARY)).get("is_complete"):
            return _moved(run.path, summary["winner_folder"])
    scored = [(kept["accuracy"], trial) for trial in _trials(run.path) if (kept := _kept(_quietly(trial)))]
    return max(scored)[1] if scored else None


def _moved(folder: Path, part: str) -> Path:
    """Return a part of a search, wherever the search has been moved."""
    return folder / Path(*Path(part).parts[-2:])


def _trials(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder / "trials") as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _quietly(trial: Path) -> list[dict[str, str]]:
    with suppress(Exception):  # a damaged trial does not hide the others
        return read_history(trial)
    return []


def _settings(text: str) -> dict[str, Any]:
    """Return what Kilnet has written as TOML, by dotted key; tomllib takes ten times as long."""
    group, parts = "", []
    for table, key, value in _LINE.findall(text):
        if table:
            group = f"{table}."
        else:
            if "\n" in value:  # a list, whose last comma JSON does not know
                value = _LAST_COMMA.sub(r"\1", value)
            parts.append(f'"{group}{key}":{value}')
    try:
        found: dict[str, Any] = json.loads("{" + ",".join(parts) + "}")
    except ValueError:  # what JSON writes otherwise
        found = _flat(tomllib.loads(text))
    return found


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    from kilnet.config import by_dotted_key  # which takes a while to import; most runs are read without

    return dict(by_dotted_key(tree))


def _metrics(folder: Path) -> dict[str, Any]:
    """Return the numbers of each evaluated split: `test.accuracy` and so on."""
    return {
        f"{split}.{name}": value
        for split, entry in _json(folder / EVALUATION).items()
        if isinstance(entry, dict)
        for name, value in entry.items()
        if isinstance(value, int | float) or name == "accuracy_interval"
    }


def _state(folder: Path) -> dict[str, Any]:
    """Return what the head of a safetensors file says beside its tensors."""
    try:
        with (folder / STATE).open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(size)) if size <= _MAX_TEXT_BYTES else {}
    except FileNotFoundError:
        return {}
    texts = head.get("__metadata__", {}).values()
    found = (json.loads(text) for text in texts if text.startswith("{"))
    return next((rest for rest in found if "num_epochs_done" in rest), {})


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path, MAX_JSON_BYTES))
    except FileNotFoundError:
        return {}
    return content if isinstance(content, dict) else {}


def _table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of numbers."""
    try:
        head, *lines = read_text(path, _MAX_TEXT_BYTES).splitlines()
    except FileNotFoundError:
        return []
    columns = head.split(",")
    return [dict(zip(columns, line.split(","), strict=True)) for line in lines]


def _modified(files: Files) -> str:
    """Return when the numbers of a folder last changed, in local time to the second."""
    moments = []
    for name in (EVALUATION, HISTORY, SUMMARY, SEARCH, CONFIG):
        with suppress(OSError, KeyError):
            moments.append(files[name].stat().st_mtime)
    return datetime.fromtimestamp(max(moments, default=0.0)).astimezone().isoformat(" ", "seconds")
