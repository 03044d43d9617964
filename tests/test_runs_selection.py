"""Runs chosen and ordered by what is known of them."""

from pathlib import Path

import pytest

from kilnet.errors import InputError
from kilnet.runs.listing import ListedRun
from kilnet.runs.selection import keys_in, matching, ordered, whole_key


def run(name, **values):
    return ListedRun(
        path=Path(name), kind="run", values={key.replace("__", "."): value for key, value in values.items()}
    )


RUNS = (
    run(
        "a",
        accuracy=0.9,
        loss=0.5,
        optimizer__lr=0.01,
        model="FastNet",
        views__mirror=True,
        status="finished",
    ),
    run(
        "b", accuracy=0.8, loss=0.4, optimizer__lr=0.1, model="ResNet", views__mirror=False, status="finished"
    ),
    run("c", optimizer__lr=0.1, model="FastNet", status="unfinished", augment__shift_px=1, views__shift_px=2),
)


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ([], "abc"),
        (["accuracy>0.85"], "a"),
        (["accuracy >= 80%"], "ab"),
        (["lr=0.1"], "bc"),
        (["lr==1e-1", "model=Fast*"], "c"),
        (["model!=FastNet"], "b"),
        (["accuracy!=0.9"], "bc"),
        (["views.mirror=true"], "a"),
        (["status<finishing"], "ab"),
        (["path=c"], "c"),
        (["loss<=0.5", "accuracy<0.85"], "b"),
    ],
)
def test_all_conditions_have_to_hold(conditions, names):
    assert "".join(str(found.path) for found in matching(RUNS, conditions)) == names


@pytest.mark.parametrize(
    ("key", "reverse", "names"),
    [
        ("accuracy", False, "abc"),
        ("accuracy", True, "bac"),
        ("loss", False, "bac"),
        ("model", False, "acb"),
        ("lr", False, "bca"),
    ],
)
def test_the_best_is_first_and_what_is_unknown_last(key, reverse, names):
    assert "".join(str(found.path) for found in ordered(RUNS, key, reverse)) == names


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("accuracy", "write a condition as"),
        ("acuracy>1", "no run has acuracy; did you mean accuracy"),
        ("shift_px=1", r"shift_px may be augment\.shift_px or views\.shift_px; write the whole name"),
    ],
)
def test_conditions_that_mean_nothing_are_refused(condition, problem):
    with pytest.raises(InputError, match=problem):
        matching(RUNS, [condition])


def test_what_is_asked_about_is_known():
    assert keys_in(RUNS, ["lr=0.1", "accuracy>1"]) == ["optimizer.lr", "accuracy"]
    assert whole_key((), "anything") == "anything"
