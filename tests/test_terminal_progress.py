"""What is told while a network is trained."""

import re

import kilnet
from made_up_machine import TINY, make_dataset


def test_plan_and_time_left_are_told(tmp_path, capsys, processor_time):
    settings = TINY | {
        "training.low_resolution": [[0.4, 0.5], [0.75, 0.75]],
        "training.checkpoint_seconds": 0.1,
    }
    kilnet.train(make_dataset(num_train=120), budget="4s", settings=settings, out=tmp_path / "run")
    lines = capsys.readouterr().err.splitlines()
    (plan,) = (line for line in lines if "passes" in line)
    assert re.fullmatch(
        r"[1234]s of 4s left: about \d+\.\d passes in all over 120 images, [\d,]+ images/s in batches of \d+; "
        r"6x6 until 40%, 9x9 until 75%, then 12x12; learning rate 0 at \d\d:\d\d:\d\d",
        plan,
    )
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert all(re.search(r"images/s, \d.* s(, \d\.\d s left)?$", line) for line in epochs)
    assert not any("/" in line.split("  train")[0] for line in epochs), "nobody knows how many there will be"
