"""Settings by the last part of their name."""

import pytest

import kilnet
from kilnet.errors import ConfigError
from kilnet.verbs.keys import candidates, with_whole_keys
from kilnet.verbs.request import requested


@pytest.mark.parametrize(
    ("key", "whole"),
    [
        ("lr", "optimizer.lr"),
        ("c1", "model.c1"),
        ("epochs", "training.epochs"),
        ("optimizer.lr", "optimizer.lr"),
        ("seed", "seed"),
        ("augment", "augment"),
        ("nothing_like_it", "nothing_like_it"),
    ],
)
def test_the_last_part_stands_for_the_whole(key, whole):
    assert with_whole_keys({key: 1}, "here") == {whole: 1}


def test_where_several_end_so_they_are_named():
    assert candidates("shift_px") == ["augment.shift_px", "views.shift_px"]
    with pytest.raises(
        ConfigError, match=r"here: shift_px may be augment\.shift_px or views\.shift_px; write"
    ):
        with_whole_keys({"shift_px": 1}, "here")


def test_a_setting_is_not_given_twice():
    with pytest.raises(ConfigError, match=r"optimizer\.lr is there twice, as lr too"):
        with_whole_keys({"optimizer.lr": 1, "lr": 2}, "here")


def test_python_and_spaces_understand_it_too(tmp_path):
    config = requested("digits", None, None, {"lr": 0.25, "c1": 5}, None, None, None)
    assert config.optimizer.lr == 0.25
    assert config.model.options == {"c1": 5}
    search = kilnet.HyperSearch(
        "digits",
        ["c1=4,6", "lr=1e-3,1e-2"],
        workers=1,
        out=tmp_path / "search",
        progress=False,
        settings={"hardware.precision": "fp32", "hardware.layout": "contiguous", "data.num_train": 100},
    )
    assert search.config.space == {"model.c1": [4, 6], "optimizer.lr": [1e-3, 1e-2]}
