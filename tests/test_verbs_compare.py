"""Two runs beside each other."""

import json
import shlex

import numpy as np
import pytest

import kilnet
from digit_runs import SMALL, digits
from kilnet.data.sources import load_dataset
from kilnet.errors import DataError, RunFolderError
from kilnet.recipes.reading import load_config


def test_compare_counts_what_each_got_right(digit_runs, command):
    code, out, err = command("compare", digit_runs / "a", digit_runs / "b", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["differences"] == ["seed: 0 -> 1"]
    data = digits().validation
    right = [
        np.array(kilnet.load(digit_runs / name).logits(data.images).argmax(1)) == data.labels for name in "ab"
    ]
    assert found["num_first"] == int((right[0] & ~right[1]).sum())
    assert found["num_second"] == int((right[1] & ~right[0]).sum())
    assert found["difference"] == pytest.approx(right[1].mean() - right[0].mean())
    assert {one["name"] for one in found["disagreements"]} == set(np.array(data.names)[right[0] != right[1]])
    code, out, _ = command("compare", digit_runs / "a", digit_runs / "b")
    assert code == 0
    assert "seed: 0 -> 1" in out
    assert "McNemar" in out


def test_runs_of_other_data_are_not_compared(digit_runs, command):
    code, _, err = command("compare", digit_runs / "a", digit_runs / "fewer", "--json")
    assert code == 2
    assert "not trained and validated on the same images" in err
    with pytest.raises(RunFolderError, match="no such run folder"):
        kilnet.compare(digit_runs / "a", digit_runs / "gone", progress=False)
    with pytest.raises(DataError, match="not the images that"):
        kilnet.inspect(
            digit_runs / "a",
            data=load_dataset(load_config(settings={"data.source": "digits"}).data),
            progress=False,
        )


def test_any_number_of_runs_are_ranked_with_every_two_tested(digit_runs, command, tmp_path):
    third = kilnet.train(
        "digits", epochs=1, settings={**SMALL, "seed": 5}, out=tmp_path / "a third", progress=False
    )
    names = [digit_runs / "a", digit_runs / "b", third.folder]
    found = kilnet.compare_all(names, progress=False)
    accuracy = {str(name): kilnet.Run(name).best.validation_accuracy for name in names}
    assert list(found.names) == sorted(map(str, names), key=lambda name: -accuracy[name])
    assert [one.accuracy for one in found.evaluations] == [accuracy[name] for name in found.names]
    assert found.settings["seed"] == tuple(kilnet.Run(name).config.seed for name in found.names)
    assert set(found.settings) == {"seed", "training.epochs"}
    assert len(found.pairs) == len(found.p_values) == 3
    for (one, other, outcome), p_value in zip(found.pairs, found.p_values, strict=True):
        pair = kilnet.compare(found.names[one], found.names[other], progress=False)
        assert outcome == pair.outcome
        assert p_value >= outcome.p_value
    code, out, err = command("compare", *names, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["runs"] == list(found.names)
    assert [pair["p_value_holm"] for pair in told["pairs"]] == list(found.p_values)
    code, out, _ = command("compare", *names)
    assert "corrected for 3 comparisons (Holm)" in " ".join(out.split())
    assert out.splitlines()[-1] == "next: " + shlex.join(["kilnet", "serve", found.names[0]])


def test_a_comparison_needs_different_runs(digit_runs, refusal):
    assert "two runs or more" in refusal("compare", digit_runs / "a")[1]
    assert "twice" in refusal("compare", digit_runs / "a", digit_runs / "b", digit_runs / "a")[1]
    assert (
        "not trained and validated on the same images"
        in refusal("compare", digit_runs / "a", digit_runs / "b", digit_runs / "fewer")[1]
    )
