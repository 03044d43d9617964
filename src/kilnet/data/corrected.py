"""A data set as a table of corrections has it: other labels, and images left out, in the splits that there were."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kilnet.data.corrections import AppliedCorrections, Corrections, digest_of
from kilnet.data.dataset import SPLIT_NAMES, ImageDataset, Split
from kilnet.errors import DataError, nearest


@dataclass(frozen=True, eq=False)
class Corrected:
    """What becomes of images.

    Attributes:
        labels: int64 (num_images,), of all images.
        is_kept: bool (num_images,).
        changes: by name, the new class, or None where an image is left out.
    """

    labels: npt.NDArray[np.int64]
    is_kept: npt.NDArray[np.bool_]
    changes: dict[str, str | None]


def corrected(dataset: ImageDataset, table: Corrections) -> ImageDataset:
    """Return a data set with a table of corrections applied.

    Images stay in the splits in which they were: a test before and after the corrections is about the same images,
    and none moves from training into it.

    Args:
        dataset: whose test split is not sealed.
        table: which is checked line by line.

    Raises:
        DataError: a line names an image or a class that there is not, or a label that the data does
            not have; a class has no training image left.
    """
    parts = [dataset.split(name) for name in SPLIT_NAMES]
    names = [name for part in parts for name in part.names]
    labels = np.concatenate([part.labels for part in parts])
    return with_changes(dataset, table, apply(table, names, labels, dataset.classes).changes)


def with_changes(
    dataset: ImageDataset, table: Corrections, changes: Mapping[str, str | None]
) -> ImageDataset:
    """Return a data set with what `apply` made of a table, which is not checked again.

    Args:
        dataset: as for `corrected`.
        table: where the changes are from.
        changes: by name, the new class, or None where an image is left out.

    Raises:
        DataError: a class has no training image left.
    """
    known = {unicodedata.normalize("NFC", name): label for label, name in enumerate(dataset.classes)}
    changed: dict[str, int] = {}
    removed: dict[str, int] = {}
    result: dict[str, Split] = {}
    for name in SPLIT_NAMES:
        part = dataset.split(name)
        here = {place: changes[image] for place, image in enumerate(part.names) if image in changes}
        labels, is_kept = part.labels.copy(), np.ones(len(part), bool)
        for place, class_name in here.items():
            if class_name is None:
                is_kept[place] = False
            else:
                labels[place] = known[class_name]
        removed[name] = int((~is_kept).sum())
        changed[name] = len(here) - removed[name]
        part = replace(part, labels=labels)
        result[name] = part if is_kept.all() else part.take(np.flatnonzero(is_kept))
    for label, class_name in enumerate(dataset.classes):
        if not (result["train"].labels == label).any():
            raise DataError(f"{table.path}: with it, class {class_name} has no image left to train on")
    return replace(
        dataset,
        train=result["train"],
        validation=result["validation"],
        _test=result["test"],
        corrections=AppliedCorrections(
            path=table.path,
            sha256=table.sha256,
            content=table.content,
            changed=changed,
            removed=removed,
            digest=digest_of(changes),
        ),
    )


def apply(
    table: Corrections, names: Sequence[str], labels: npt.NDArray[np.int64], classes: Sequence[str]
) -> Corrected:
    """Return what a table of corrections makes of images.

    Args:
        table: which is checked line by line.
        names, labels: of all images of the data.
        classes: whose indices the labels are.

    Raises:
        DataError: as in `corrected`.
    """
    places: dict[str, int] = {}
    doubled: set[str] = set()
    for place, name in enumerate(names):
        if name in places:
            doubled.add(name)
        places[name] = place
    known = [unicodedata.normalize("NFC", name) for name in classes]
    labels, is_kept = labels.copy(), np.ones(len(labels), bool)
    changes: dict[str, str | None] = {}
    for row in table.rows.values():
        place = places.get(row.name, -1)
        if place < 0:
            raise DataError(f"{table.where(row)}: the data has no such image{_near(row.name, names)}")
        if row.name in doubled:
            raise DataError(f"{table.where(row)}: two images of the data have this name")
        if (now := known[labels[place]]) != row.label:
            raise DataError(f"{table.where(row)}: its label is {row.label} there, but {now} in the data")
        if row.correction is not None and row.correction not in known:
            raise DataError(f"{table.where(row)}: no class {row.correction}{nearest(row.correction, known)}")
        if row.verdict == "remove":
            is_kept[place] = False
            changes[row.name] = None
        elif row.correction is not None and row.correction != row.label:
            labels[place] = known.index(row.correction)
            changes[row.name] = row.correction
    return Corrected(labels, is_kept, changes)


def _near(name: str, names: Sequence[str]) -> str:
    """Return a hint where an image of the same file name lies in another folder."""
    last = name.rpartition("/")[2]
    same = next((other for other in names if other.rpartition("/")[2] == last), None)
    return f"; there is {same}" if same is not None else ""
