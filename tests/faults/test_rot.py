"""Each file of a run and of a search is damaged: the right answer, or one line that names the file."""

import json
import os
import re
import shutil

import pytest

from commands import TUNE
from test_failing import without

SECONDS = 20
CONFIGURATIONS = {"config.toml", "search.toml"}
RUN_VERBS = {
    "evaluate": "evaluate RUN --json",
    "report": "report RUN --json",
    "inspect": "inspect RUN --json",
    "compare": "compare RUN OTHER --json",
    "predict": "predict RUN PICTURES --json",
    "finetune": "finetune RUN --epochs 1 --json --out NEW",
    "train": "train digits --recipe RUN/config.toml --json --out RUN",
    "export": "export RUN --format torch --json",
}
SEARCH_VERBS = {
    "report": "report SEARCH --json",
    "tune": "TUNE --out SEARCH",
    "promote": "promote SEARCH 0 --json --out NEW",
    "finetune": "finetune SEARCH --epochs 1 --json --out NEW",
}
# What is measured again, and the size of a page, which tells of measurements.
MEASURED = {
    "num_bytes",
    "num_reads",
    "seconds",
    "milliseconds",
    "runtime",
    "checksum",
    "files",
    "images_per_second",
}
DAMAGES = [*(f"bit {n}" for n in range(4)), "cut", "zeroed", "emptied", "deleted", "folder"]
DAMAGES += ["link", "broken link", "fifo"]


def damage(path, how, chance, elsewhere):
    """Damage a file."""
    content = path.read_bytes()
    path.unlink()
    kind = how.split()[0]
    if kind == "bit":
        changed = bytearray(content or b"\0")
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
    elif kind == "cut":
        path.write_bytes(content[: chance.randrange(len(content) or 1)])
    elif kind == "zeroed":
        path.write_bytes(bytes(len(content)))
    elif kind == "emptied":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":  # to the right content; what is read may be right, what is written stays here
        (elsewhere / path.name).write_bytes(content)
        path.symlink_to(elsewhere / path.name)
    elif kind == "broken":
        path.symlink_to(elsewhere / "nothing")
    elif kind == "fifo":
        os.mkfifo(path)


class Places:
    """A run, a search and pictures, copied to the same place for each case."""

    def __init__(self, parent, kept, folder):
        self.parent, self.kept, self.used = parent, kept, folder / "used"
        (self.used / "elsewhere").mkdir(parents=True)
        shutil.copytree(kept / "run", self.used / "other")
        shutil.copytree(kept / "pictures", self.used / "pictures")

    def words(self, line):
        """Return the words of a command."""
        line = line.replace("TUNE", " ".join(TUNE))
        places = {"RUN": "run", "OTHER": "other", "SEARCH": "search", "PICTURES": "pictures", "NEW": "new"}
        return re.sub(r"\b([A-Z]{3,})\b", lambda found: str(self.used / places[found[1]]), line).split()

    def prepare(self, name):
        """Return the run or the search as it was; whatever else there was is gone."""
        for path in (self.used / "run", self.used / "search", self.used / "new"):
            shutil.rmtree(path, ignore_errors=True)
        return shutil.copytree(self.kept / name, self.used / name)

    def answer(self, line):
        """Give a command; returns how it ended, and what it printed without measurements."""
        ending = self.parent.kilnet(*self.words(line), timeout=SECONDS, cwd=self.used)
        try:
            return ending, without(json.loads(ending.out), MEASURED)
        except ValueError:
            return ending, None


@pytest.fixture
def places(parent, kept, tmp_path):
    return Places(parent, kept, tmp_path)


def paths_in(folder):
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".png", ".lock")
    ]
    return [path.relative_to(folder) for path in files if path.name != ".lock"]


def test_rot_of_runs(campaign, places):
    try_all(campaign, places, "run", RUN_VERBS)


def test_rot_of_searches(campaign, places):
    try_all(campaign, places, "search", SEARCH_VERBS)


def try_all(campaign, places, name, verbs):
    """Damage each file in each way, and give each verb."""
    expected = {}
    for verb in verbs:
        places.prepare(name)
        ending, expected[verb] = places.answer(verbs[verb])
        assert ending.code == 0, f"{verb}: {ending.told}"
    cases = [
        (f"{verb}: {name}/{path} {how}", (verb, path, how))
        for path in paths_in(places.kept / name)
        for how in DAMAGES
        for verb in campaign.verbs(verbs, f"{path} {how}")
    ]
    for case, (verb, path, how) in campaign.named(campaign.some(cases, 6, 40)):
        damage(places.prepare(name) / path, how, campaign.random(case), places.used / "elsewhere")
        ending, answer = places.answer(verbs[verb])
        campaign.tried("damaged files")
        judge(campaign, case, ending, answer, expected[verb], path)
        there = places.used / "elsewhere" / path.name
        if how == "link" and there.read_bytes() != (places.kept / name / path).read_bytes():
            campaign.fail("executed", case, "written through the link")


def judge(campaign, case, ending, answer, expected, path):
    """The right answer, or one line that names the file.

    Of a configuration, which has no checksum, and of a file that is gone, it names the folder: another configuration
    than was asked for may be meant, and a search may not be finished.
    """
    if ending.hung:
        campaign.fail("over limit", case, ending.told)
    elif ending.code == 0:
        is_told = (
            case.endswith("deleted")
            and answer
            and (answer.get("is_complete") is False or is_part(answer, expected))
        )
        if answer != expected and not is_told:
            campaign.fail("silent", case, difference(answer, expected))
    elif ending.has_traceback or ending.code not in (1, 2) or len(ending.err.strip().splitlines()) > 1:
        campaign.fail("traceback", case, ending.told)
    elif path.name not in ending.last_line and not (
        (path.name in CONFIGURATIONS or case.endswith("deleted")) and "/used/" in ending.last_line
    ):
        campaign.fail("traceback", case, f"the file is not named: {ending.last_line}")


def is_part(answer, expected):
    """Whether an answer without what is gone says nothing else: it has None, False or nothing in its place."""
    if isinstance(answer, dict) and isinstance(expected, dict):
        return all(is_part(value, expected.get(key)) for key, value in answer.items())
    return answer == expected or not answer


def difference(answer, expected, place=""):
    """Return the first place where two contents differ."""
    if isinstance(answer, dict) and isinstance(expected, dict):
        for key in answer | expected:
            if found := difference(answer.get(key), expected.get(key), f"{place}/{key}"):
                return found
        return ""
    return "" if answer == expected else f"{place}: {str(answer)[:60]} instead of {str(expected)[:60]}"
