"""The same command is the same search: every documented example of a space, twice."""

from pathlib import Path

import pytest

from kilnet import HyperSearch
from kilnet.errors import ConfigError
from kilnet.tuning.search_folder import SearchFolder
from kilnet.tuning.space import Space, read_space

CONDITIONS = """
"optimizer.lr" = { low = 1e-4, high = 1e-2, log = true }
"model.name" = ["ResNet", "ConfigNet"]
[model]
depth = { values = [8, 14], when = { "model.name" = "ResNet" } }
c1 = { low = 4, high = 8, when = { "model.name" = ["ConfigNet"] } }
"""
EXAMPLES = {
    "the tutorial's grid": (),
    "the tutorial by name": ("tutorial",),
    "small": ("small",),
    "wide": ("wide",),
    "a list and a logarithmic range": ("model.c1=16,32,64", "optimizer.lr=1e-4..1e-2:log"),
    "a range before a list": ("optimizer.lr=1e-4..1e-2:log", "model.c1=16,32,64"),
    "ranges of integers": ("model.l1=16..64", "model.c1=16..64:16", "model.c2=48,96"),
    "a grid with a range first": ("model.c1=4..8:4", "model.d1=0.0,0.1"),
    "presets": ("optimizer.lr=1e-4..1e-2:log", "augment=none,tutorial"),
    "conditions": ("conditions.toml",),
}
FEW = {
    "data.num_train": 60,
    "training.batch_size": 20,
    "hardware.device": "cpu",
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.threads": 1,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of the user's own, where the example with conditions lies."""
    monkeypatch.chdir(tmp_path)
    Path("conditions.toml").write_text(CONDITIONS)


def begin(space, settings=FEW, **options):
    return HyperSearch(
        "digits", space or None, settings=settings, epochs=1, workers=1, progress=False, **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("space", EXAMPLES.values(), ids=EXAMPLES)
def test_the_same_call_finds_its_search_in_the_free_folder_and_by_name(space):
    words = [str(word) for word in space]
    first = begin(words)
    begun = (first.folder / "search.toml").read_bytes()
    for again in (begin(words), begin(words[::-1], out=first.folder)):
        assert again.folder == first.folder
        assert again.config.parsed_space() == first.config.parsed_space()
    assert (first.folder / "search.toml").read_bytes() == begun
    assert [path.name for path in Path("searches").iterdir()] == [first.folder.name]


def test_a_call_with_tuples_finds_its_search(here):
    settings = FEW | {"model.name": "FastNet", "model.widths": (4, 4)}
    space = {"optimizer.lr": (0.1, 0.2), "training.label_smoothing": {"values": (0.0, 0.1)}}
    folders = {begin(space, settings).folder for _ in range(2)}
    listed = {"optimizer.lr": [0.1, 0.2], "training.label_smoothing": [0.0, 0.1]}
    folders.add(begin(listed, settings | {"model.widths": [4, 4]}).folder)
    assert len(folders) == 1


def test_lists_alone_keep_the_order_in_which_they_are_written():
    """Cells are numbered by it, and those of older searches must stay."""
    search = begin(["model.l1=8,16", "model.c1=4,8"])
    assert list(SearchFolder(search.folder).config().space) == ["model.l1", "model.c1"]
    assert search.config.parsed_space().cells()[1] == {"model.l1": 8, "model.c1": 8}


def test_what_only_looks_like_a_list_is_one_line():
    with pytest.raises(ConfigError, match=r"model.c1 = range\(4, 9, 4\): give a list or a range"):
        begin({"model.c1": range(4, 9, 4)})


@pytest.mark.slow
@pytest.mark.parametrize("space", EXAMPLES.values(), ids=EXAMPLES)
def test_every_verb_twice(space, command):
    """A second time nothing is trained; what was promoted is not replaced."""
    few = [word for key, value in FEW.items() for word in ("--set", f"{key}={value}")]
    words = [word for part in space for word in ("--space", part)]
    words += ["--epochs", 1, "--finalists", 1, "--seeds", 1, "--workers", 1]
    parsed = Space.parse(read_space(list(map(str, space)))) if space else None
    if parsed and (parsed.endless or len(parsed.cells()) > 8):
        words += ["--trials", 2]
    calls = [["tune", "digits", *words, *few, "--finetune"]]
    search = Path("searches/digits-ConfigNet")
    calls += [["report", search], ["finetune", search, "--epochs", 1]]
    calls += [
        ["promote", search, 0],
        ["evaluate", "runs/digits-ConfigNet-0000"],
        ["report", "runs/digits-ConfigNet-0000"],
    ]
    for call in calls:
        code, _, err = command(*call)
        assert code == 0, err
    trained = trained_files()
    for call in calls:
        code, _, err = command(*call)
        assert (code, "there already" in err) == ((2, True) if call[0] == "promote" else (0, False)), err
    assert trained_files() == trained


def trained_files():
    """Every file of weights and every history, with its bytes."""
    return {
        path: path.read_bytes()
        for name in ("weights.safetensors", "history.csv")
        for path in Path().rglob(name)
    }
