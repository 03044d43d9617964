"""The space of a search: every way to write one, every refusal, every cell once."""

import itertools
import math
import random
import warnings

import pytest

from kilnet.tuning.space import Space, read_space
from refusals import refusal


def parse_words(*words):
    return Space.parse(read_space(words))


def listed(space):
    return {dimension.key: dimension.listed() for dimension in space.dimensions}


# --- what can be written


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("model.c1=48,96", (48, 96)),
        ("model.c1=48", (48,)),
        (" model.c1 = 48 , 96 ", (48, 96)),
        ("model.d1=0.1,0.25", (0.1, 0.25)),
        ("optimizer.lr=1e-3,3e-3", (0.001, 0.003)),
        ("optimizer.name=adam,sgd", ("adam", "sgd")),
        ('optimizer.name="adam","sgd"', ("adam", "sgd")),
        ("model.pool=true,false", (True, False)),
        ("model.c1=16..64:16", (16, 32, 48, 64)),
        ("model.c1=3..6", (3, 4, 5, 6)),
        ("model.c1=16..70:16", (16, 32, 48, 64)),
        ("model.d1=0.0..0.5:0.25", (0.0, 0.25, 0.5)),
        ("augment.rotation=0..1:0.5", (0.0, 0.5, 1.0)),
        ("augment.rotation=0..1:0.3", (0.0, 0.3, 0.6, 0.9)),
    ],
)
def test_words_of_the_command_line(word, values):
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error"
        )  # a range that is no multiple of its step is none of the user's worries
        space = parse_words(word)
    (key,) = space.keys
    found = listed(space)[key]
    assert key == word.partition("=")[0].strip()
    assert found == pytest.approx(values) if isinstance(values[0], float) else found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("word", ["optimizer.lr=1e-4..1e-2:log", "optimizer.lr=0.0001..0.01"])
def test_a_range_without_a_step_has_no_end_of_values(word):
    space = parse_words("model.c1=4,8", word)
    assert space.endless == "optimizer.lr"
    assert listed(space) == {"model.c1": (4, 8), "optimizer.lr": None}
    assert refusal(space.cells).startswith("the space: optimizer.lr: a range without a step")
    distribution = space.dimensions[1].distribution
    assert (distribution.low, distribution.high, distribution.log) == (1e-4, 1e-2, word.endswith("log"))


def test_every_value_of_a_stepped_range_is_one_that_optuna_takes():
    """Sums of binary fractions must not end above the range: 0.1 + 2 * 0.1 > 0.3."""
    for tenths in itertools.product(range(4), range(4, 12), (1, 2, 3)):
        low, high, step = (number / 10 for number in tenths)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (dimension,) = Space.parse({"model.d1": {"low": low, "high": high, "step": step}}).dimensions
        values = dimension.listed()
        assert len(values) == (tenths[1] - tenths[0]) // tenths[2] + 1
        assert values == pytest.approx([(tenths[0] + i * tenths[2]) / 10 for i in range(len(values))])
        assert all(dimension.distribution._contains(value) for value in values), (low, high, step)


def test_files_and_words_mix_and_the_later_wins(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text(
        '"model.c1" = [4, 8]\n'
        "[optimizer]\nname = ['sgd', 'adam']\nlr = {low = 1e-4, high = 1e-1, log = true}\n"
        "momentum = {values = [0.8, 0.9], when = {optimizer.name = 'sgd'}}\n"
        "[model]\nc2 = {low = 8, high = 24, step = 8}\n"
    )
    assert read_space([str(file), "model.c1=16", "model.l1=32,64"]) == {
        "model.c1": [16],
        "optimizer.name": ["sgd", "adam"],
        "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "optimizer.momentum": {"values": [0.8, 0.9], "when": {"optimizer": {"name": "sgd"}}},
        "model.c2": {"low": 8, "high": 24, "step": 8},
        "model.l1": [32, 64],
    }
    assert read_space(["model.c1=16", str(file)])["model.c1"] == [4, 8]
    space = parse_words(str(file), "optimizer.lr=0.1,0.2")
    assert space.keys == ("model.c1", "optimizer.name", "optimizer.lr", "optimizer.momentum", "model.c2")
    assert len(space.cells()) == 2 * 2 * (2 + 1) * 3


def test_dotted_and_nested_keys_are_the_same():
    nested = {"model": {"c1": [4, 8], "c2": {"low": 1, "high": 2}}}
    dotted = {"model.c1": [4, 8], "model.c2": {"low": 1, "high": 2}}
    assert Space.parse(nested) == Space.parse(dotted)


def test_tuples_are_lists():
    assert Space.parse({"model.c1": (4, 8)}) == Space.parse({"model.c1": [4, 8]})
    when = {"when": {"model.c1": (4,)}}
    space = Space.parse({"model.c1": (4, 8), "model.c2": {"values": (1, 2), **when}})
    assert len(space.cells()) == 3


# --- what is refused


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model.c1=", "model.c1: the list is empty"),
        ("model.c1=4,,8", "`space='model.c1=4,,8'`: a value is missing"),
        ("model.c1=4,8,4", "model.c1: 4 is listed twice"),
        ("model.c1=[1],[2]", "model.c1: [1] is not a number"),
        ("model.c1=8..4", "model.c1: low 8 is not below high 4"),
        ("model.c1=4..4", "model.c1: low 4 is not below high 4"),
        ("model.c1=4..big", "model.c1 = {'low': 4, 'high': 'big'}: a range needs two numbers"),
        ("model.c1=..8", "model.c1 = {'low': '', 'high': 8}: a range needs two numbers"),
        ("model.c1=4..inf", "a range needs two numbers"),
        ("model.c1=4..8:0", "model.c1: step 0 is not above 0"),
        ("model.c1=4..8:-2", "model.c1: step -2 is not above 0"),
        ("optimizer.lr=0..1:log", "optimizer.lr: a logarithmic range starts above 0"),
        ("optimizer.lr=-1.0..1:log", "optimizer.lr: a logarithmic range starts above 0"),
        ("seed=1,2", "seed: the best seed is only the luckiest; `seeds`"),
        ("data.split_seed=1,2", "data.split_seed: all trials must be validated on the same images"),
        ("data.source=a,b", "data.source: all trials"),
        ("training.epochs=1,2", "training.epochs: trials are compared after the same epochs; give `epochs`"),
        (
            "training.initial_weights=random,parent",
            "training.initial_weights: every trial begins with random weights; fine-tune the winner",
        ),
        ("parent=a,b", "parent: every trial begins with random weights; fine-tune the winner"),
        ("hardware.device=cpu,cuda", "hardware.device: all trials use the same device; give `device`"),
        ("hardware.threads=1,2", "hardware.threads: threads are divided among the workers"),
        ("no-such-file.toml", "`space='no-such-file.toml'`: no such file"),
    ],
)
def test_words_that_are_refused(word, told):
    assert told in refusal(parse_words, "model.l1=1,2", word)


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({}, "the space is empty; for example"),
        ({"model.c1": []}, "model.c1: the list is empty"),
        ({"model.c1": {}}, "model.c1"),
        ({"model.c2": [1], "model.c1": {}}, "model.c1"),
        ({"model.c1": 4}, "model.c1 = 4: give a list or a range; give one value with `settings`"),
        ({"model.c1": "4"}, "model.c1 = '4': give a list"),
        ({"model.c1": [4, None]}, "model.c1: None is not a number"),
        ({"model.c1": [4], "model": {"c1": [8]}}, "model.c1"),
        ({"model.c1": {"low": 4}}, "model.c1 = {'low': 4}: a range needs two numbers"),
        ({"model.c1": {"low": 4, "high": True}}, "model.c1"),
        ({"model.c1": {"low": 4, "high": math.nan}}, "model.c1"),
        ({"model.c1": {"low": 4, "high": 8, "log": 1}}, "model.c1"),
        ({"model.c1": {"low": 4, "high": 8, "log": True, "step": 2}}, "model.c1: a logarithmic range"),
        (
            {"model.c1": {"low": 4, "high": 8, "stpe": 2}},
            "model.c1: unknown stpe; a range has low, high, step, log",
        ),
        ({"model.c1": {"values": [4], "log": True}}, "model.c1: values do not go with log"),
        ({"model.c1": {"values": 4}}, "model.c1 = 4: give a list"),
        ({"model.c1": {"values": [4], "when": "sgd"}}, "model.c1: when = 'sgd': give a table"),
        (
            {"model.c1": {"values": [4], "when": {"model.c2": 1}}},
            "model.c1: when names model.c2, which is not an earlier",
        ),
        (
            {"model.c1": {"values": [4], "when": {"model.c2": 1}}, "model.c2": [1, 2]},
            "model.c1: when names model.c2, which is not an earlier key",
        ),
        (
            {
                "optimizer.name": ["sgd"],
                "optimizer.momentum": {"values": [0.9], "when": {"optimizer.name": "sdg"}},
            },
            "optimizer.momentum: when",
        ),
    ],
)
def test_trees_that_are_refused(tree, told):
    assert told in refusal(Space.parse, tree)


def test_a_file_that_is_no_toml_is_named(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text("model.c1 = [4, 8\n")
    assert refusal(read_space, [str(file)]).startswith(f"{file}: not valid TOML: ")
    file.write_bytes(b"\xc3(")
    assert refusal(read_space, [str(file)]).startswith(f"{file}: cannot be read: ")
    assert refusal(read_space, [str(tmp_path)]).startswith(f"{tmp_path}: cannot be read: ")


# --- cells


def naive_cells(space):
    """All products, with unreachable keys struck out and duplicates gone."""
    cells = []
    for combination in itertools.product(*(dimension.listed() for dimension in space.dimensions)):
        values = {}
        for dimension, value in zip(space.dimensions, combination, strict=True):
            if all(values.get(key, "absent") in allowed for key, allowed in dimension.when.items()):
                values[dimension.key] = value
        if values not in cells:
            cells.append(values)
    return cells


def test_the_tutorials_grid_in_its_order():
    cells = [tuple(cell.values()) for cell in Space.parse(read_space(["tutorial"])).cells()]
    assert cells == list(itertools.product((48, 96), (96, 192), (256, 512)))


@pytest.mark.parametrize("seed", range(25))
def test_every_cell_once(seed):
    chance = random.Random(seed)
    tree = {}
    for index in range(chance.randint(1, 5)):
        key, values = f"key.k{index}", chance.sample(range(20), chance.randint(1, 4))
        leaf = (
            {"values": values}
            if chance.random() < 0.7
            else {"low": 1, "high": 6, "step": chance.randint(1, 3)}
        )
        if tree and chance.random() < 0.6:
            parents = chance.sample(list(tree), min(len(tree), chance.randint(1, 2)))
            known = {d.key: d.listed() for d in Space.parse(tree).dimensions}
            leaf["when"] = {p: chance.sample(known[p], chance.randint(1, len(known[p]))) for p in parents}
        tree[key] = leaf
    space = Space.parse(tree)
    assert space.cells() == naive_cells(space)


def test_conditions_of_conditions():
    tree = {
        "optimizer.name": ["adam", "sgd"],
        "optimizer.momentum": {"values": [0.8, 0.9], "when": {"optimizer.name": "sgd"}},
        "optimizer.clip_norm": {"values": [0.0, 1.0], "when": {"optimizer.momentum": [0.9]}},
    }
    assert Space.parse(tree).cells() == [
        {"optimizer.name": "adam"},
        {"optimizer.name": "sgd", "optimizer.momentum": 0.8},
        {"optimizer.name": "sgd", "optimizer.momentum": 0.9, "optimizer.clip_norm": 0.0},
        {"optimizer.name": "sgd", "optimizer.momentum": 0.9, "optimizer.clip_norm": 1.0},
    ]


# --- corners


def test_corners_are_all_of_a_list_and_the_ends_of_a_range():
    space = parse_words("model.c1=1,2,3", "model.c2=4..40", "optimizer.lr=1e-4..1e-2:log")
    found = {tuple(corner.values()) for corner in space.corners()}
    assert found == set(itertools.product((1, 2, 3), (4, 40), (1e-4, 1e-2)))


@pytest.mark.parametrize("num_keys", [9, 10, 11, 12, 20])
def test_no_value_is_left_out_of_the_corners(num_keys):
    """However large the space, every value is tried at least once, or a wrong one would be found in the night."""
    space = Space.parse({f"model.k{index}": [index, index + 1] for index in range(num_keys)})
    corners = space.corners()
    assert len(corners) <= 512
    for index, key in enumerate(space.keys):
        assert {corner[key] for corner in corners} == {index, index + 1}


# --- check
