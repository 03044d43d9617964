"""What is said to the command line to train a little on the digits, and what it answers."""

import json

TINY = [
    "model.c1=4",
    "model.c2=8",
    "model.l1=16",
    "hardware.threads=1",
    "hardware.precision=fp32",
    "hardware.layout=contiguous",
    "data.num_train=200",
]
DIGITS = ["train", "digits", "--epochs", "1", "--device", "cpu", *(w for s in TINY for w in ("--set", s))]


def one_object(out):
    assert len(out.splitlines()) == 1
    return json.loads(out)
