"""Folders, recipes and caches that try to execute, write or read elsewhere: nothing of it happens."""

import io
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import NETWORK
from kilnet.inference.kept_tensors import read_tensors, write_tensors
from test_rot import RUN_VERBS, SEARCH_VERBS, SECONDS, Places

THEIRS = "theirs.evil:build"
CANARY = "canary-5309"
FOLDERS = {
    "run": ("state", "plots", "exports", "exports/torch", "evaluation-test", "folds"),
    "search": (
        "trials",
        "finalists",
        "images",
        "logs",
        "trials/0000",
        "trials/0001/state",
        "finalists/0000-seed-1",
    ),
}
VERBS = {"run": RUN_VERBS, "search": SEARCH_VERBS}
TEXTS = {
    "a model's name": ('"ConfigNet"', f'"{THEIRS}"'),
    "a split's name": ('"test"', '"../../outside/test"'),
    "a picture's name": ("\n0", "\n../outside/secret.png,0"),
    "a source": ('source = "digits"', 'source = "../outside"'),
    "a number": ('"number": 0', '"number": "../../outside/0"'),
    "nesting": ("{", '{"a": ' + "[" * 20_000 + "]" * 20_000 + ", "),
    "nesting in TOML": ("\nseed = ", "\nx = " + "[" * 20_000 + "]" * 20_000 + "\nseed = "),
    "many dotted keys": (
        "\nseed = ",
        "\n" + "".join(f"a{'.b' * 30}.c{n} = 1\n" for n in range(5000)) + "seed = ",
    ),
}


class Evil:
    """Its pickle writes the marker when it is loaded."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def payloads(marker):
    """Return pickles in the forms in which libraries load them."""
    as_array, as_torch = io.BytesIO(), io.BytesIO()
    np.save(as_array, np.array([Evil(marker)], dtype=object), allow_pickle=True)
    torch.save(Evil(marker), as_torch)
    return {"pickle": pickle.dumps(Evil(marker)), "array": as_array.getvalue(), "torch": as_torch.getvalue()}


class Foreign(Places):
    """As `Places`, with a marker, a module that writes it, and a folder outside with a secret."""

    def __init__(self, parent, kept, folder):
        super().__init__(parent, kept, folder)
        self.marker, self.outside = folder / "executed", self.used / "outside"
        (folder / "modules" / "theirs").mkdir(parents=True)
        module = f"import os\nos.mkdir({str(self.marker)!r})\nfrom kilnet import ConfigNet as build\n"
        (folder / "modules" / "theirs" / "evil.py").write_text(module)
        self.modules = folder / "modules"
        self.payloads = payloads(self.marker)
        pickle.loads(self.payloads["pickle"])
        self.marker.rmdir()  # it has shown

    def prepare(self, name):
        shutil.rmtree(self.outside, ignore_errors=True)
        self.outside.mkdir()
        (self.outside / "secret.txt").write_text(f"{CANARY}\n" * 3)
        return super().prepare(name)


@pytest.fixture
def foreign(parent, kept, tmp_path):
    return Foreign(parent, kept, tmp_path)


def snapshot(folder):
    """Return everything in a folder, links not followed."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.is_dir()
        for path in folder.rglob("*")
    }


def put_pickle(foreign, path, form):
    path.write_bytes(foreign.payloads[form])


def put_link_to_secret(foreign, path, _):
    path.unlink()
    path.symlink_to(foreign.outside / "secret.txt")


def put_link_folder(foreign, path, _):
    there = foreign.outside / path.name
    if path.is_dir():
        shutil.move(path, there)
    else:
        there.mkdir(parents=True)
        (there / "kept.txt").write_text("kept")
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(there)


def put_text(foreign, path, what):
    old, new = TEXTS[what]
    text = path.read_text()
    path.write_text(text.replace(old, new, 1) if what != "a split's name" else text.replace(old, new))


def put_name_in_tensors(foreign, path, _):
    tensors, description = read_tensors(path)
    if "model" in description:
        description["model"]["name"] = THEIRS
    description["name"] = THEIRS
    write_tensors(path, tensors, description)


def attacks(foreign, name):
    """Yield the attacks on a folder: what is done with which path, and how."""
    folder = foreign.kept / name
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        if path.suffix not in (".png", ".html"):
            yield from ((f"{path} is a {form} pickle", put_pickle, path, form) for form in foreign.payloads)
        yield f"{path} is a link to a secret", put_link_to_secret, path, ""
        if path.suffix in (".toml", ".json", ".csv"):
            text = (folder / path).read_text()
            yield from (
                (f"{what} in {path}", put_text, path, what) for what, (old, _) in TEXTS.items() if old in text
            )
        if path.suffix == ".safetensors":
            yield f"a model's name in {path}", put_name_in_tensors, path, ""
    for path in FOLDERS[name]:
        yield f"{path} is a link to a folder", put_link_folder, Path(path), ""


def try_all(campaign, foreign, name):
    cases = [
        (f"{verb}: {attack} in the {name}", (verb, put, path, how))
        for attack, put, path, how in attacks(foreign, name)
        for verb in campaign.verbs(VERBS[name], attack)
    ]
    for case, (verb, put, path, how) in campaign.named(campaign.some(cases, 5, 40)):
        put(foreign, foreign.prepare(name) / path, how)
        before = snapshot(foreign.outside)
        words = foreign.words(VERBS[name][verb])
        modules = [str(foreign.modules)]
        ending = foreign.parent.kilnet(*words, timeout=SECONDS, cwd=foreign.used, import_from=modules)
        campaign.tried("attacks")
        judge(campaign, case, ending, foreign, before)


def judge(campaign, case, ending, foreign, before):
    """Nothing ran, nothing was written or read elsewhere, and what went wrong is one line."""
    if foreign.marker.exists():
        campaign.fail("executed", case, "the marker is there")
        foreign.marker.rmdir()
    after = snapshot(foreign.outside)
    if after != before:
        changed = [name for name in after.keys() | before if after.get(name) != before.get(name)]
        campaign.fail("executed", case, f"written elsewhere: {sorted(changed)[:3]}")
    written = [path for path in foreign.used.rglob("*") if path.is_file() and not path.is_symlink()]
    told = [
        path
        for path in written
        if foreign.outside not in path.parents and CANARY.encode() in path.read_bytes()
    ]
    if CANARY in ending.out + ending.err or told:
        campaign.fail("executed", case, f"the secret is in {told or 'what was printed'}")
    if ending.hung:
        campaign.fail("over limit", case, ending.told)
    elif ending.code != 0 and (
        ending.has_traceback or ending.code not in (1, 2) or ending.err.count("\n") != 1
    ):
        campaign.fail("traceback", case, ending.told)


def test_foreign_runs(campaign, foreign):
    try_all(campaign, foreign, "run")


def test_foreign_searches(campaign, foreign):
    try_all(campaign, foreign, "search")


def write_class_folders(folder):
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_foreign_caches(campaign, foreign):
    """A cache whose entries are pickles, links, other contents, or folders."""
    data, cache = foreign.used / "classes", foreign.used / "cache"
    write_class_folders(data)
    train = (
        "train",
        data,
        *NETWORK,
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--json",
        "--out",
        foreign.used / "new",
    )
    verbs = {"train": train, "data": ("data", data, "--json")}
    options = {"environment": {"KILNET_CACHE": str(cache)}, "cwd": foreign.used, "timeout": SECONDS}
    foreign.prepare("run")
    for verb in verbs:
        first = foreign.parent.kilnet(*verbs[verb], **options)
        assert first.code == 0, first.told
    kept = shutil.move(cache, foreign.used / "kept-cache")
    paths = [path.relative_to(kept) for path in sorted(kept.rglob("*")) if path.is_file()]
    ways = [
        *((put_pickle, form) for form in foreign.payloads),
        (put_link_to_secret, ""),
        (put_folder, ""),
        (put_other, ""),
    ]
    cases = [
        (f"{verb}: cache {path} by {put.__name__} {form}", (verb, path, put, form))
        for path in paths
        for put, form in ways
        for verb in verbs
    ]
    for case, (verb, path, put, form) in campaign.named(campaign.some(cases, 2, 12)):
        foreign.prepare("run")
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(kept, cache)
        put(foreign, cache / path, form)
        before = snapshot(foreign.outside)
        ending = foreign.parent.kilnet(*verbs[verb], **options, import_from=[str(foreign.modules)])
        campaign.tried("attacks")
        judge(campaign, case, ending, foreign, before)
        if ending.code != 0:
            campaign.fail("lost", case, ending.told)


def put_folder(foreign, path, _):
    path.unlink()
    path.mkdir()


def put_other(foreign, path, _):
    path.write_text('{"a": [1, {"b": null}], "kilnet": 3}')


RECIPES = {
    "a model's name": f'[model]\nname = "{THEIRS}"\n',
    "nesting": "x = " + "[" * 20_000 + "]" * 20_000 + "\n",
    "nested tables": "[a" + ".b" * 20_000 + "]\n",
    "many dotted keys": "".join(f"a{'.b' * 30}.c{n} = 1\n" for n in range(50_000)),
    "a parent elsewhere": 'parent = "outside"\n[training]\ninitial_weights = "parent"\n',
    "a long number": f"seed = {'9' * 50_000}\n",
}


def test_foreign_recipes(campaign, foreign):
    places = {
        "recipe": ("train", "digits", "--recipe"),
        "space": ("tune", "digits", "--epochs", "1", "--space"),
    }
    cases = [(f"{what} as a {place}", (what, place)) for what in RECIPES for place in places]
    for case, (what, place) in campaign.named(campaign.some(cases, 2, len(cases))):
        foreign.prepare("run")
        path = foreign.used / "foreign.toml"
        path.write_text(RECIPES[what])
        before = snapshot(foreign.outside)
        words = (*places[place], path, "--json", "--out", foreign.used / "new")
        options = {"import_from": [str(foreign.modules)], "memory_mb": 3000}
        ending = foreign.parent.kilnet(*words, timeout=SECONDS, cwd=foreign.used, **options)
        campaign.tried("attacks")
        judge(campaign, case, ending, foreign, before)
        if ending.code == 0:
            campaign.fail("silent", case, "it was taken")
