"""Commands that train small networks on few images: less than a second each; and a write of a single file."""

from pathlib import Path

COMMON = ("--device", "cpu", "--set", "hardware.precision=fp32", "--set", "hardware.layout=contiguous")
COMMON += ("--set", "hardware.threads=1", "--set", "data.num_train=128")
NETWORK = ("--model", "ConfigNet", "--set", "model.c1=4", "--set", "model.c2=4", "--set", "model.l1=8")
TRAIN = ("train", "digits", *COMMON, *NETWORK, "--set", "training.batch_size=64", "--epochs", "1", "--json")
TUNE = ("tune", "digits", *COMMON, "--space", "model.c1=4,8", "--set", "model.c2=4", "--set", "model.l1=8")
TUNE += ("--epochs", "1", "--finalists", "1", "--seeds", "1", "--workers", "1", "--json")
EVALUATE = ("evaluate", "run", "--json")
REPORT = ("report", "run", "--json")


def write_whole(path: str) -> None:
    """Write a file as Kilnet does; called in a fork."""
    from kilnet.storage import write_bytes

    write_bytes(Path(path), b"new content")
