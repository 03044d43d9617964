"""Code outside Kilnet is imported only if the caller names it: no file can choose what runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kilnet import HyperSearch, hardware
from kilnet.inference.kept_tensors import read_tensors, write_tensors
from kilnet.recipes.reading import load_config
from kilnet.tuning.allocation import allocate
from kilnet.tuning.backends.jobs import SpeedJob

THEIRS = "theirs.evil:build"
NAME_IT = f"name it: --model {THEIRS}"
SPACE = ("--space", "model.c1=4,8")
SEARCH_WORDS = (*SPACE, "--epochs", "1", "--workers", "1", "--finalists", "1", "--seeds", "1")
SEARCH_WORDS += ("--set", "model.c2=8", "--set", "model.l1=16", "--device", "cpu")
OWN_SPACE = ("--space", "model.width=2,4", "--epochs", "1", "--finalists", "1", "--seeds", "1")
TINY = """
from torch import nn

def tiny(width: int = 2, *, image_shape, num_classes):
    conv = nn.Conv2d(image_shape[0], width, 3, stride=2)
    return nn.Sequential(conv, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, num_classes))
"""


@pytest.fixture(autouse=True)
def marker(tmp_path, monkeypatch):
    """Is there as soon as the foreign module, which could be imported, has been; its network is a right one."""
    path = tmp_path / "executed"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "evil.py").write_text(
        f"open({str(path)!r}, 'w').close()\nfrom kilnet import ConfigNet as build\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield path
    for name in ("theirs", "theirs.evil"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def search(colour_run, tmp_path_factory):
    """A finished search over the pictures of `colour_run`."""
    folder = tmp_path_factory.mktemp("foreign") / "search"
    words = ["tune", pictures_of(colour_run), *SEARCH_WORDS, "--out", folder]
    subprocess.run([sys.executable, "-m", "kilnet", *map(str, words)], check=True, capture_output=True)
    return folder


def pictures_of(run):
    return run.parent / "pictures"


def rewrite(path, old='name = "ConfigNet"', new=f'name = "{THEIRS}"'):
    text = path.read_text()
    assert old in text
    text = text.replace(old, new)
    path.write_text(without_checksum(json.loads(text)) if path.suffix == ".json" else text)


def without_checksum(content):
    """As an earlier version wrote it, and as anybody may."""
    return json.dumps({key: value for key, value in content.items() if key != "checksum"})


def rename_in_weights(path):
    tensors, description = read_tensors(path)
    description["model"]["name"] = THEIRS
    write_tensors(path, tensors, description)


CHANGES = {
    "config.toml": lambda run: rewrite(run / "config.toml"),
    "weights": lambda run: rename_in_weights(run / "weights.safetensors"),
}
RUN_VERBS = {
    "evaluate": "evaluate RUN --split val",
    "predict": "predict RUN PICTURES",
    "inspect": "inspect RUN",
    "inspect --folds": "inspect RUN --folds 2",
    "compare first": "compare RUN OTHER",
    "compare second": "compare OTHER RUN",
    "report": "report RUN",
    "export": "export RUN --format torch",
    "serve": "serve RUN --port 0",
    "finetune": "finetune RUN --epochs 1",
    "finetune --anew": "finetune RUN --epochs 1 --anew",
    "train from the parent": "train PICTURES --recipe CHILD --out new",
}
RECIPE_VERBS = {
    "train": "train PICTURES --recipe RUN/config.toml --out new",
    "train with a budget": "train PICTURES --recipe RUN/config.toml --out new --budget 60s",
    "tune": "tune PICTURES --recipe RUN/config.toml --space optimizer.lr=0.1,0.2 --out new",
    "tune its options": "tune PICTURES --recipe RUN/config.toml --space model.c1=4,8 --out new",
}


def words_of(verb, run, other):
    """Fill in a command; CHILD is a recipe that begins with the weights of the run."""
    child = Path("child.toml")
    child.write_text(
        re.sub(
            r"(?m)^seed = ", f"parent = {json.dumps(str(run))}\nseed = ", (other / "config.toml").read_text()
        )
    )
    rewrite(child, 'initial_weights = "random"', 'initial_weights = "parent"')
    places = {"RUN": run, "OTHER": other, "PICTURES": pictures_of(other), "CHILD": child}
    return [re.sub("|".join(places), lambda found: str(places[found[0]]), word) for word in verb.split()]


@pytest.mark.parametrize(
    ("verb", "where"),
    [
        (verb, where)
        for verb in RUN_VERBS
        for where in CHANGES
        if (verb, where) != ("finetune --anew", "weights")
    ]
    + [(verb, "config.toml") for verb in RECIPE_VERBS],
)
def test_a_run_or_a_recipe_cannot_choose_what_runs(colour_run, verb, where, marker, tmp_path, command):
    run = shutil.copytree(colour_run, tmp_path / "run")
    if verb == "train from the parent":
        where = "weights"  # all that is read of a parent
    CHANGES[where](run)
    code, _, err = command(*words_of((RUN_VERBS | RECIPE_VERBS)[verb], run, colour_run))
    assert (code, NAME_IT in err) == (2, True), err
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["evaluate", "inspect --folds", "finetune", "train", "tune"])
def test_what_the_caller_names_is_used(colour_run, verb, marker, tmp_path, command):
    run = shutil.copytree(colour_run, tmp_path / "run")
    for change in CHANGES.values():
        change(run)
    words = words_of((RUN_VERBS | RECIPE_VERBS)[verb], run, colour_run)
    words += {"train": ["--epochs", "1"], "tune": SEARCH_WORDS[2:10]}.get(verb, [])
    code, _, err = command(*words, "--model", THEIRS)
    assert code == 0, err
    assert marker.exists(), "it would have shown"


def test_a_setting_names_a_network_too(colour_run, marker, command):
    settings = ("--set", "model.c1=4", "--set", "model.c2=4", "--set", "model.l1=8")
    words = ("train", pictures_of(colour_run), "--epochs", 1, "--set", f"model.name={THEIRS}", *settings)
    code, _, err = command(*words)
    assert code == 0, err
    assert marker.exists()


def test_folds_cannot_choose_what_runs(colour_run, marker, tmp_path, command):
    run = shutil.copytree(colour_run, tmp_path / "run")
    assert command("inspect", run, "--folds", 2)[0] == 0
    for part in (1, 2):
        rename_in_weights(run / "folds" / f"{part}-of-2" / "weights.safetensors")
    code, _, err = command("inspect", run, "--folds", 2)
    assert (code, NAME_IT in err) == (2, True), err
    for part in (1, 2):
        rewrite(run / "folds" / f"{part}-of-2" / "config.toml")
    assert command("inspect", run, "--folds", 2)[0] == 2
    assert not marker.exists()


def test_a_file_that_describes_a_space_cannot_choose_what_runs(colour_run, marker, tmp_path, command):
    space = tmp_path / "space.toml"
    space.write_text(f'model.name = ["ConfigNet", "{THEIRS}"]\n')
    pictures = pictures_of(colour_run)
    code, _, err = command("tune", pictures, *SEARCH_WORDS[2:], "--out", "new", "--space", space)
    assert (code, NAME_IT in err) == (2, True), err
    assert not marker.exists()
    assert not Path("new").exists()
    settings = {"model.c1": 4, "model.c2": 4, "model.l1": 8}
    for space in ([f"model.name=ConfigNet,{THEIRS}"], {"model.name": ["ConfigNet", THEIRS]}):
        search = HyperSearch(pictures, space, settings=settings, workers=1, out="new", progress=False)
        assert search.own_models == {"ConfigNet", THEIRS}
    assert marker.exists()


def make_foreign(search, folder):
    """Copy a search, with the foreign network wherever a file of it names one."""
    copy = shutil.copytree(search, folder)
    rewrite(copy / "search.toml")
    rewrite(copy / "search.toml", "[space]\n", f'[space]\n"model.name" = ["ConfigNet", "{THEIRS}"]\n')
    for file in copy.glob("trials/*/trial.json"):
        content = json.loads(file.read_text())
        content["values"]["model.name"] = THEIRS
        file.write_text(without_checksum(content))
    for file in copy.glob("*/*/config.toml"):
        rewrite(file)
    for file in copy.glob("*/*/weights.safetensors"):
        rename_in_weights(file)
    return copy


def test_a_search_can_be_read_without_running_what_it_names(search, marker, tmp_path, command):
    copy = make_foreign(search, tmp_path / "search")
    code, out, err = command("report", copy)
    assert code == 0, err
    assert "report.html" in out
    assert THEIRS in (copy / "report.html").read_text()
    assert command("report", copy, "--json")[0] == 0
    assert command("promote", copy, 0)[0] == 0
    assert not marker.exists()


def test_a_search_cannot_choose_what_runs(search, marker, tmp_path, command):
    copy = make_foreign(search, tmp_path / "search")
    promoted = command("promote", copy, 0, "--out", "promoted")
    assert promoted[0] == 0, promoted
    for words in (["finetune", copy], ["finetune", copy, "--anew"], ["evaluate", "promoted"]):
        code, _, err = command(*words)
        assert (code, NAME_IT in err) == (2, True), err
    assert not marker.exists()
    code, _, err = command("finetune", copy, "--epochs", 1, "--model", THEIRS)
    assert code == 0, err
    assert marker.exists()


FOREIGN_PARTS = {
    "search.toml": lambda copy: rewrite(copy / "search.toml"),
    "a trial that is due": lambda copy: [
        rewrite(
            next(copy.glob("trials/0001/trial.json")),
            '"values": {',
            f'"values": {{"model.name": "{THEIRS}", ',
        ),
        *(path.unlink() for path in copy.glob("trials/0001/history.csv")),
        *(path.unlink() for path in copy.glob("trials/0001/state/*")),
    ],
    "a finalist that is due": lambda copy: [
        *(
            rewrite(path, '"values": {', f'"values": {{"model.name": "{THEIRS}", ')
            for path in copy.glob("trials/*/trial.json")
        ),
        *(path.unlink() for path in copy.glob("finalists/*/correct.npy")),
    ],
    "the winner, not tested yet": lambda copy: [
        *(rewrite(path) for path in copy.glob("finalists/*/config.toml")),
        *(path.unlink() for path in copy.glob("finalists/*/evaluation.json")),
    ],
    "the winner's weights": lambda copy: [
        *(rename_in_weights(path) for path in copy.glob("finalists/*/weights.safetensors")),
        *(path.unlink() for path in copy.glob("finalists/*/evaluation.json")),
    ],
}


@pytest.mark.parametrize("part", FOREIGN_PARTS)
def test_a_search_that_resumes_cannot_choose_what_runs(search, colour_run, part, marker, tmp_path, command):
    copy = shutil.copytree(search, tmp_path / "search")
    FOREIGN_PARTS[part](copy)
    code, _, err = command("tune", pictures_of(colour_run), *SEARCH_WORDS, "--out", copy)
    assert code == 2, err
    assert THEIRS in err or "model.name is not searched" in err
    assert not marker.exists()


def kilnet(*words, cwd):
    """Call the installed command, which does not look for modules in the current folder by itself."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    source = str(Path(hardware.__file__).parents[1])
    program = f"import sys; sys.path[0] = {source!r}; from kilnet.cli import main; main()"
    call = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(call, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.usefixtures("marker")
def test_a_network_in_the_current_folder_is_trained_by_its_name_and_by_workers_too(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "mynets.py").write_text(TINY)
    few = ("--set", "data.num_train=200", "--device", "cpu", "--model", "mynets:tiny")
    kilnet("train", "digits", "--epochs", 1, *few, "--out", "run", cwd=home)
    kilnet("evaluate", "run", "--split", "val", "--model", "mynets:tiny", cwd=home)
    search = ("tune", "digits", *OWN_SPACE, *few, "--workers", 2, "--out", "search")
    kilnet(*search, cwd=home)
    kilnet(*search, cwd=home)
    kilnet("report", "search", cwd=home)
    assert len(list((home / "search" / "trials").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("marker")
def test_workers_are_measured_with_a_network_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text(TINY)
    monkeypatch.setattr(hardware, "available_threads", lambda: 2)
    settings = {"model.name": "mynets:tiny", "hardware.precision": "fp32", "hardware.layout": "contiguous"}
    config = load_config(settings=settings | {"hardware.device": "cpu"})
    job = SpeedJob(
        name="speed",
        config=config,
        image_shape=(1, 8, 8),
        num_classes=10,
        seconds=0.5,
        own_models=frozenset({"mynets:tiny"}),
    )
    rates = re.findall(r"threads? ([\d,]+)", allocate(None, job, tmp_path / "logs").reason)
    assert len(rates) == 2
    assert "0" not in rates


@pytest.mark.slow
def test_nothing_beside_the_user_is_imported_unnamed(colour_run, marker, tmp_path):
    """A folder from somebody else may hold modules with the names of packages."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("torch", "optuna", "plotly", "matplotlib", "kilnet"):
        (here / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    kilnet("tune", pictures_of(colour_run), *SEARCH_WORDS, "--out", "search", cwd=here)
    kilnet("report", "search", cwd=here)
    assert not marker.exists()
