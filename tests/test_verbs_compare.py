"""Two runs beside each other."""

import json

import numpy as np
import pytest

import kilnet
from digit_runs import digits
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
