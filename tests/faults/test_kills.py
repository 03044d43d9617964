"""SIGKILL of trainings and searches, at random moments and around every file operation: the same bytes in the end."""

import csv
import shutil

from commands import COMMON, NETWORK
from forks import Ending
from kilnet.training.run_folder import RunFolder
from operations import PHASES, Strike

TINY = (*COMMON, "--set", "training.batch_size=64")
# After each step: most of the time is spent in writing the state.
EACH_STEP = ("--set", "training.checkpoint_seconds=1e-6")
TRAININGS = {
    "ConvNet adam": (*TINY, "--model", "ConvNet", "--epochs", "1"),
    "ConfigNet augmented": (*TINY, *NETWORK, "--set", "augment=tutorial", "--epochs", "3"),
    "ResNet sgd": (
        *(*TINY, "--model", "ResNet", "--set", "model.depth=8", "--set", "model.width=4"),
        *("--set", "optimizer.name=sgd", "--set", "optimizer.lr=0.05", "--epochs", "3"),
    ),
    "FastNet muon": (
        *(*TINY, "--recipe", "fast-digits", "--set", "model.widths=[4, 4, 4]", "--epochs", "3"),
        *("--set", "training.low_resolution=[[0.5, 0.75]]"),
    ),
    "fine-tuned": ("--epochs", "3", "--set", "hardware.threads=1"),
}
WRITTEN_BY_THE_CLOCK = {"timing.csv", "environment.json"}


def words_of(name, folder, parent_run):
    """Return the command of a training in a folder."""
    start = ("finetune", parent_run) if name == "fine-tuned" else ("train", "digits")
    return (*start, *TRAININGS[name], *EACH_STEP, "--json", "--out", folder)


def files_of(folder):
    """Return the bytes of a run by path, without what depends on the clock; nothing may be left over."""
    assert not list(folder.rglob("*.tmp")), "leftovers"
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in WRITTEN_BY_THE_CLOCK]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def kills_of(campaign, name, operations, seconds, count):
    """Return kills, each by its name: around every operation, or a part of them, and some at random moments.

    On disk, after an operation is before the next; only a write can be half done.
    """
    exact = [
        (f"{name}, {phase} operation {number} ({what})", {"strike": Strike(number, phase=phase)})
        for number, what in enumerate(operations, 1)
        for phase in ("before", "in", "after")
        if phase == "before" or (phase == "in" and what.startswith("write ")) or number == len(operations)
    ]
    moments = campaign.random(name)
    by_chance = [
        (f"{name}, moment {number}", {"signal_after": moments.uniform(0, 0.9 * seconds)})
        for number in range(count)
    ]
    return [*campaign.some(exact, count), *by_chance]


def until_done(campaign, parent, case, words, kills):
    """Give the same command until it ends; each time but the last it is killed, unless it has ended before."""
    for options in (*kills, {}):
        ending: Ending = parent.kilnet(*words, **options)
        if ending.was_killed:
            campaign.tried("kills")
        elif ending.code != 0 or ending.hung:
            campaign.fail("traceback" if ending.has_traceback else "lost", case, ending.told)
            return False
        if ending.num_orphans:
            campaign.fail("over limit", case, f"{ending.num_orphans} processes are there still")
    return True


def test_kills_of_trainings(campaign, parent, kept, tmp_path):
    parent_run = kept / "trained"
    for name in campaign.some(TRAININGS, 1, 5):
        if campaign.is_late:
            break
        log, whole, killed = tmp_path / "log", tmp_path / "whole", tmp_path / "killed"
        ending = parent.kilnet(*words_of(name, whole, parent_run), folder=whole, log=log)
        assert ending.code == 0, ending.told
        expected = files_of(whole)
        operations = log.read_text().splitlines()
        cases = kills_of(campaign, name, operations, ending.seconds, campaign.size(2, 3, 10))
        for case, kill in campaign.named(cases):
            moments = campaign.random(case)
            again = [{"signal_after": moments.uniform(0, ending.seconds)} for _ in range(3)]
            words = words_of(name, killed, parent_run)
            if until_done(campaign, parent, case, words, [{"folder": killed, **kill}, *again]):
                compare(campaign, case, killed, expected)
            shutil.rmtree(killed, ignore_errors=True)
        shutil.rmtree(whole)
        log.unlink()


def compare(campaign, case, folder, expected):
    try:
        found = files_of(folder)
    except AssertionError as error:
        campaign.fail("lost", case, str(error))
        return
    differing = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
    if differing:
        campaign.fail("differing", case, ", ".join(differing))
    history = RunFolder(folder).history()
    assert [record.epoch for record in history] == list(range(1, len(history) + 1))


SPACE = {"model.c1": "4,8", "model.l1": "8,16"}
SEARCH_SETTINGS = ("augment=tutorial", "training.batch_size=64", "training.checkpoint_seconds=0.02")
SEARCH_CLOCK = ("seconds", "reason")


def search_words(folder, num_workers):
    """Return the command of a search of four trials in rungs, and two finalists."""
    words = ["tune", "digits", "--out", folder, "--epochs", "3", "--workers", num_workers, "--json", *COMMON]
    words += ["--finalists", "2", "--seeds", "1", "--set", "model.c2=4"]
    words += [word for key, values in SPACE.items() for word in ("--space", f"{key}={values}")]
    return words + [word for setting in SEARCH_SETTINGS for word in ("--set", setting)]


def table_of(folder):
    """Return what a search has found, without what depends on the clock; checks that nothing is lost or doubled."""
    with (folder / "search.csv").open(newline="") as file:
        rows = [
            {key: cell for key, cell in row.items() if key not in SEARCH_CLOCK}
            for row in csv.DictReader(file)
        ]
    assert sorted(int(row["trial"]) for row in rows) == list(range(4))
    assert len({tuple(row[key] for key in SPACE) for row in rows}) == 4
    assert {row["status"] for row in rows} == {"finished", "stopped"}
    runs = sorted([*(folder / "trials").iterdir(), *(folder / "finalists").iterdir()])
    assert len(runs) == 4 + 2
    epochs = [[record.epoch for record in RunFolder(run).history()] for run in runs]
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in epochs)
    assert not list(folder.rglob("*.tmp")), "leftovers"
    weights = {file.parent.name: file.read_bytes() for file in folder.rglob("weights.safetensors")}
    return rows, weights, epochs


def test_kills_of_searches(campaign, parent, kept, tmp_path):
    whole = tmp_path / "whole"
    ending = parent.kilnet(*search_words(whole, 1), folder=whole)
    assert ending.code == 0, ending.told
    expected = table_of(whole)
    chance = campaign.random()
    folder = tmp_path / "killed"

    def cases():
        for number in range(campaign.size(1, 6, 40)):
            num_workers, num_kills = 1 + number % 2, campaign.size(2, 5, 5)
            kills = [kill_of_search(chance, ending.seconds, num_workers) for _ in range(num_kills)]
            yield f"search {number}, {num_workers} workers", (num_workers, kills)

    for case, (num_workers, kills) in campaign.named(cases()):
        if search_until_done(campaign, parent, case, search_words(folder, num_workers), folder, kills):
            try:
                if table_of(folder) != expected:
                    campaign.fail("differing", f"{case}: {kills}", "another table, history or weights")
            except (AssertionError, OSError) as error:
                campaign.fail("lost", f"{case}: {kills}", repr(error)[:300])
        shutil.rmtree(folder)


def kill_of_search(chance, seconds, num_workers):
    """Return a kill of the search or a worker: at a random moment, or around one of its operations."""
    if chance.random() < 0.5:
        victim = chance.choice(["main", "first", "last", "all"])
        return {"signal_after": chance.uniform(0, seconds), "victim": victim}
    process = chance.choice(["main", *(f"worker {1 + number}" for number in range(num_workers))])
    number = chance.randint(1, 120 if process == "main" else 600)
    return {"strike": Strike(number, phase=chance.choice(PHASES), process=process)}


def search_until_done(campaign, parent, case, words, folder, kills):
    """Give the same command until it ends, each time with the next kill; what kills a worker does not end it."""
    for kill in [*kills, {}]:
        ending = parent.kilnet(*words, folder=folder, **kill)
        campaign.tried("kills", int(bool(kill)))
        if ending.num_orphans:
            campaign.fail("over limit", f"{case}: {kills}", f"{ending.num_orphans} processes are there still")
        if ending.code == 0 and not kill:
            return True
        if ending.code != 0 and not ending.was_killed:
            campaign.fail("traceback" if ending.has_traceback else "lost", f"{case}: {kills}", ending.told)
            return False
    return False
