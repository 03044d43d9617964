"""How well a network tells pictures of none of its classes: CIFAR-10's classes left out in turn, and foreign pictures.

    python benchmarks/unknown.py [--epochs N] [--seed N] [--data-dir DIR] [--photos FOLDER] [--out DIR]

Five networks are trained on six of CIFAR-10's classes each; the test images of the other four are unknown to them. Each
class is left out twice. One more is trained on all ten; handwritten digits, photographs of a folder and noise are
unknown to it, all at 32 pixels. Known are always the test images of the network's own classes. What is compared is the
AUROC of the strangeness by which `kilnet predict` says `unknown` (`kilnet.inference.unknown`) with that of the highest
softmax of its answers. Each network has a folder in --out; interrupted, the same command resumes. unknown.csv holds a
line per row.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt

import kilnet
from kilnet.config import DataConfig
from kilnet.data.dataset import ImageDataset, Split
from kilnet.data.decode import to_input
from kilnet.data.sources import load_dataset
from kilnet.errors import DataError
from kilnet.inference.picture_files import find_pictures
from kilnet.inference.unknown import UnknownMeasured, measure
from kilnet.seeding import generator
from kilnet.storage import write_csv

NUM_LEFT_OUT = 4
Images = npt.NDArray[np.uint8]


def without(dataset: ImageDataset, left_out: set[int]) -> ImageDataset:
    """Return a data set of the other classes alone, numbered anew."""
    kept = [number for number in range(len(dataset.classes)) if number not in left_out]
    numbers = np.full(len(dataset.classes), -1)
    numbers[kept] = np.arange(len(kept))

    def part(split: Split) -> Split:
        chosen = split.take(np.flatnonzero(np.isin(split.labels, kept)))
        return replace(chosen, labels=numbers[chosen.labels])

    classes = tuple(dataset.classes[number] for number in kept)
    test = None if dataset.test is None else part(dataset.test)
    return ImageDataset(
        f"{dataset.name}-{len(kept)}", classes, part(dataset.train), part(dataset.validation), test
    )


def turns(num_classes: int) -> Iterator[tuple[int, ...]]:
    """Return which classes are left out in each turn: four that follow each other, two further on each time."""
    for first in range(0, num_classes, 2):
        yield tuple((first + step) % num_classes for step in range(NUM_LEFT_OUT))


def foreign(photos: Path | None, shape: tuple[int, int, int], seed: int) -> Iterator[tuple[str, Images]]:
    """Return pictures that have nothing to do with CIFAR-10, uint8 (n, channels, height, width), with their name."""
    digits = load_dataset(DataConfig(source="digits")).train.images
    side = shape[1] // digits.shape[2]
    yield "digits", digits.repeat(side, 2).repeat(side, 3).repeat(shape[0], 1)
    if photos is not None:
        pictures = []
        for path in find_pictures([photos]):
            with suppress(DataError):  # a file that is no picture
                pictures.append(to_input(path, shape))
        yield photos.name, np.stack(pictures)
    yield "noise", generator(seed, "noise").integers(0, 256, (2000, *shape), np.uint8)


def main(arguments: list[str] | None = None, show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", help="a copy of CIFAR-10; else KILNET_DATA, else it is fetched")
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("runs/unknown"))
    given = parser.parse_args(arguments)
    dataset = load_dataset(DataConfig(source="cifar10", dir=given.data_dir))
    rows: list[list[Any]] = []

    def trained(data: ImageDataset, name: str) -> Callable[[Images], UnknownMeasured]:
        """Return what measures how pictures are told from the test images of a network's own classes."""
        run = kilnet.train(
            data,
            recipe="fast",
            settings={"model.widths": [32, 128, 128]},  # about what a budget of half a minute chooses
            epochs=given.epochs,
            seed=given.seed,
            out=given.out / name,
            progress=False,
        )
        test = data.split("test")
        classifier, kept = kilnet.load(run), run.calibrate(data).known or sys.exit("nothing was fitted")
        known = classifier.judged(test.images)
        show(f"{name}: {(known[0].argmax(1) == test.labels).mean():.1%} of {len(test):,} test images right")
        return lambda images: measure(known, classifier.judged(images), kept)

    def note(name: str, found: UnknownMeasured) -> None:
        rows.append([name, found.num_unknown, found.auroc, found.auroc_of_confidence, found.false_positives])
        gain = 100 * (found.auroc - found.auroc_of_confidence)
        show(
            f"  {name}: AUROC {found.auroc:.1%}, {gain:+.1f} points beside the highest softmax; "
            f"{found.false_positives:.1%} pass where 95% of the known do"
        )

    test = dataset.split("test")
    for left_out in turns(len(dataset.classes)):
        names = ", ".join(dataset.classes[number] for number in left_out)
        told = trained(without(dataset, set(left_out)), "without-" + "-".join(map(str, left_out)))
        note(names, told(test.images[np.isin(test.labels, left_out)]))
    told = trained(dataset, "all")
    for name, images in foreign(given.photos, test.images.shape[1:], given.seed):
        note(name, told(images))
    show(f"mean of {len(rows)}: {mean(r[2] for r in rows):.1%}, softmax {mean(r[3] for r in rows):.1%}")
    write_csv(
        given.out / "unknown.csv", ["unknown", "num", "auroc", "softmax", "false_positives"], rows, "\n"
    )


if __name__ == "__main__":
    main()
