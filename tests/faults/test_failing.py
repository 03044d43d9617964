"""Each file operation of each verb fails once: one line, nothing half-written, and the same command again ends well."""

import csv
import io
import json
import shutil

from commands import TRAIN, TUNE
from operations import Strike

ERRORS = ("ENOSPC", "EIO", "EACCES")
ROTATING = ("inspect", "tune")  # each of their many operations fails with one of the errors, in turn
VERBS = {
    "train": (*TRAIN, "--out", "FOLDER/new"),
    "evaluate": ("evaluate", "FOLDER/trained", "--json"),
    "report": ("report", "FOLDER/trained", "--json"),
    "inspect": ("inspect", "FOLDER/trained", "--json"),
    "finetune": ("finetune", "FOLDER/trained", "--epochs", "1", "--json", "--out", "FOLDER/new"),
    "export": ("export", "FOLDER/trained", "--format", "torch", "--json"),
    "tune": (*TUNE, "--out", "FOLDER/new"),
}
# Times, and how often a split was read: a command that failed after its evaluation may have read it.
VOLATILE = {"environment.json", "report.html", "worker-1.log", "layers.csv"}
VOLATILE_KEYS = {"num_reads", "seconds", "milliseconds", "runtime", "checksum"}


def without(content, keys=VOLATILE_KEYS):
    """Return what JSON holds without some keys, at any depth."""
    if isinstance(content, dict):
        return {key: without(value, keys) for key, value in content.items() if key not in keys}
    return [without(value, keys) for value in content] if isinstance(content, list) else content


def timeless(path):
    """Return a file's content without what depends on the clock."""
    if path.suffix == ".json":
        return without(json.loads(path.read_text()))
    if path.name == "search.csv":
        return [without(row) for row in csv.DictReader(io.StringIO(path.read_text()))]
    return path.read_bytes()


def files_of(folder):
    """Return the contents of files by path, without what depends on the clock."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "timing.csv":  # a row may be missing after a failure
            continue
        if path.is_file() and path.name not in VOLATILE and "exports" not in path.parts:
            found[str(path.relative_to(folder))] = timeless(path)
        elif path.is_dir() or path.name in VOLATILE or "exports" in path.parts:
            found[str(path.relative_to(folder))] = "there"
    return found


def test_failing_operations(campaign, parent, kept, tmp_path):
    folder, log = tmp_path / "folder", tmp_path / "log"
    for verb in campaign.some(VERBS, 1, 7):
        words = [word.replace("FOLDER", str(folder)) for word in VERBS[verb]]
        shutil.copytree(kept / "trained", folder / "trained")
        if verb in ("report", "inspect", "export"):
            parent.warm(*words)  # they import what the others do without
        shutil.rmtree(folder)
        shutil.copytree(kept / "trained", folder / "trained")
        ending = parent.kilnet(*words, folder=folder, log=log)
        assert ending.code == 0, ending.told
        expected = files_of(folder)
        shutil.rmtree(folder)
        operations = log.read_text().splitlines()
        log.unlink()
        cases = [
            (f"{verb}, {error} at operation {number} ({what})", (number, error))
            for number, what in enumerate(operations, 1)
            for error in (ERRORS if verb not in ROTATING else [ERRORS[number % 3]])
        ]
        for case, (number, error) in campaign.named(campaign.some(cases, 6, 12)):
            shutil.copytree(kept / "trained", folder / "trained")
            strike = Strike(number, error, "in" if "(write " in case else "before")
            try_one(campaign, parent, case, words, folder, strike, expected)
            shutil.rmtree(folder)


def try_one(campaign, parent, case, words, folder, strike, expected):
    """Let one operation fail, look at what is told and what is left, and give the command again."""
    ending = parent.kilnet(*words, folder=folder, strike=strike)
    campaign.tried("failing operations")
    if ending.hung:
        campaign.fail("over limit", case, ending.told)
        return
    if ending.code != 0:
        lines = ending.err.strip().splitlines()
        if ending.has_traceback or ending.code not in (1, 2) or not lines[-1].startswith("kilnet: "):
            campaign.fail("traceback", case, ending.told)
        left = list(folder.rglob("*.tmp"))
        if left and "unlink" not in case:
            campaign.fail("lost", case, f"left over: {left[0].relative_to(folder)}")
    if ending.code != 0 or differing(
        files_of(folder), expected
    ):  # what could not be deleted is, the next time
        ending = parent.kilnet(*words, folder=folder)
        if ending.code != 0:
            campaign.fail("lost", case, f"the second time: {ending.told}")
            return
    if names := differing(files_of(folder), expected):
        campaign.fail("differing", case, ", ".join(names[:4]))


def differing(found, expected):
    """Return the paths whose contents differ."""
    return sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
