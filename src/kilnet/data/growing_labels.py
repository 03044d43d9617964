"""A table of labels that grows: a run's own pictures, and those that a person has labelled since."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilnet.data.dataset import SPLIT_NAMES, ImageDataset
from kilnet.storage import given_path, write_csv


class GrowingLabels:
    """Writes a table to train on, as `kilnet.data.label_table` reads it.

    The run's own pictures are in it, in their splits, where they are files; those that were labelled since are for
    training, so that validation and test stay what they were.

    Args:
        path: of the table.
        unlabelled: the folder in which the new pictures are.
        dataset: the run's own data.
        folder: where the names of its images are paths of files; None where they are none.

    Attributes:
        root: the folder that the paths in the table begin in.
    """

    def __init__(self, path: Path, unlabelled: Path, dataset: ImageDataset, folder: Path | None) -> None:
        self._path = path
        new = unlabelled.resolve()
        own = None if folder is None else folder.resolve()
        common = _common(new, own)
        self.root = new if common is None else common
        self._new = self._below(new)
        self._rows: list[tuple[Any, ...]] = []
        self._has_weights = dataset.train.weights is not None and own is not None and common is not None
        if own is not None and common is not None:
            prefix = self._below(own)
            for name in SPLIT_NAMES:
                split = dataset.split(name)
                weights = [1.0] * len(split) if split.weights is None else split.weights.tolist()
                for image, label, weight in zip(split.names, split.labels, weights, strict=True):
                    self._rows.append(self._row(prefix + image, dataset.classes[label], name, weight))

    def write(self, answers: Mapping[str, Mapping[str, str]]) -> None:
        """Write the table with what has been answered; pictures that were not given a class are left out."""
        labelled = [
            self._row(self._new + name, row["correction"], "train", 1.0)
            for name, row in answers.items()
            if row["verdict"] == "wrong" and row["correction"]
        ]
        header = ["path", "label", "split"] + (["weight"] if self._has_weights else [])
        write_csv(self._path, header, [*self._rows, *labelled], "\n")

    def _row(self, path: str, label: str, split: str, weight: float) -> tuple[Any, ...]:
        return (path, label, split, weight) if self._has_weights else (path, label, split)

    def _below(self, folder: Path) -> str:
        relative = folder.relative_to(self.root).as_posix()
        return "" if relative == "." else f"{relative}/"


def _common(one: Path, other: Path | None) -> Path | None:
    """Return the folder that holds both; None where there is one alone, or on two drives."""
    try:
        return None if other is None else given_path(os.path.commonpath([one, other]))
    except ValueError:
        return None
