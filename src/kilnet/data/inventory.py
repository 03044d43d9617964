"""What a data set holds, and what is wrong with it, for `kilnet data`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.config import DataConfig
from kilnet.data.class_folders import Problem
from kilnet.data.corrected import Corrected, apply, with_changes
from kilnet.data.corrections import read_corrections
from kilnet.data.dataset import SPLIT_NAMES, ImageDataset, Progress, Split, silent
from kilnet.data.file_names import pairs_note, series_note
from kilnet.data.folder import FolderContents, assemble, missing_images, name_of
from kilnet.data.groups import joined_groups
from kilnet.data.labelled_files import find_source, read_labelled
from kilnet.data.leaks import Leak, find_leaks
from kilnet.data.mapped_images import gathered
from kilnet.data.near_duplicates import kept_near_duplicates
from kilnet.data.sources import NAMES, load_dataset
from kilnet.data.splits import content_hashes
from kilnet.data.together import group_warnings
from kilnet.data.written_table import write_label_table
from kilnet.errors import DataError
from kilnet.storage import given_path

FEW_IMAGES = 50
"""Fewer training images of a class are called few: a judgement, not a theorem."""
UNBALANCED = 3.0
"""A class with this many times the training images of another is noted; a judgement too."""
_MAX_NAMES = 5  # of classes in one note


Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Sizes:
    """Width and height of the pictures in pixels, each counted separately: (minimum, median, maximum)."""

    width: tuple[int, float, int]
    height: tuple[int, float, int]


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A data set in numbers and lists; `dataclasses.asdict` makes it fit for JSON.

    Attributes:
        name: as the user called it.
        num_images: split -> class -> usable images, as training will see them.
        image_shape: (channels, height, width) for training.
        original_sizes: of the files of a folder, upright.
        unusable: files in class folders that are no usable images, with the reason.
        stray: files that are in no class folder; training ignores them.
        duplicates_within_class: names of equal pictures in one class, one tuple per picture.
        duplicates_across_classes: names of equal pictures in several classes: one label must be wrong.
        duplicates_across_splits: names of equal pictures in several splits: the test knows them from training.
        near_duplicates_across_classes: names of pictures that show nearly the same, two at a time, in two classes.
        near_duplicates_across_splits: the same, in two of the splits that are given.
        leaks: how far the splits leak from train.
        warnings: from loading.
        notes: what to look at before training, one line each.

    Pictures are equal when all pixels are, at full size, whatever the files' names and formats.
    """

    name: str
    classes: tuple[str, ...]
    num_images: dict[str, dict[str, int]]
    image_shape: tuple[int, int, int]
    original_sizes: Sizes | None = None
    unusable: tuple[Problem, ...] = ()
    stray: tuple[str, ...] = ()
    duplicates_within_class: Groups
    duplicates_across_classes: Groups
    duplicates_across_splits: Groups
    near_duplicates_across_classes: Groups = ()
    near_duplicates_across_splits: Groups = ()
    leaks: tuple[Leak, ...] = ()
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def inspect_data(config: DataConfig, progress: Progress = silent, table: Path | None = None) -> Inventory:
    """Take stock of a data set by its name; unusable files and classes that are too small are listed, not refused.

    Args:
        config, progress: as for `load_dataset`.
        table: where to write a table of all pictures, if anywhere.

    Raises:
        DataError: there is no such data set or folder, or no classes in it.
        DownloadError: CIFAR-10 could not be fetched.
    """
    if config.source in NAMES:
        if table is not None:
            raise DataError(f"{config.source} has no files, of which `write_table` could write a table")
        return of_dataset(load_dataset(config, progress))
    return _of_folder(config, progress, table)


def of_dataset(dataset: ImageDataset) -> Inventory:
    """Take stock of images in memory."""
    num_images = _per_split(dataset)
    within_class, across_classes, across_splits = duplicates(dataset, SPLIT_NAMES)
    return Inventory(
        name=dataset.name,
        classes=dataset.classes,
        num_images=num_images,
        image_shape=dataset.image_shape,
        duplicates_within_class=within_class,
        duplicates_across_classes=across_classes,
        duplicates_across_splits=across_splits,
        warnings=dataset.warnings,
        notes=_notes(num_images),
    )


def _of_folder(config: DataConfig, progress: Progress, table: Path | None) -> Inventory:
    folder = find_source(config.source, NAMES)
    contents = read_labelled(folder, config, progress)
    as_read = contents
    near = kept_near_duplicates(as_read.pictures.thumbnails)
    corrections = None
    changes: dict[str, str | None] = {}
    if config.corrections is not None:
        corrections = read_corrections(given_path(config.corrections))
        found = apply(corrections, contents.pictures.paths, contents.labels, contents.classes)
        contents, changes = _with_corrections(contents, found), found.changes
        near = _of_the_kept(near, found.is_kept)
    if table is not None:
        write_label_table(table, folder, contents, config)
    pictures = contents.pictures
    num_images = {
        name: _per_class(contents.classes, contents.labels[contents.splits == name]) for name in SPLIT_NAMES
    }
    notes: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()
    told: tuple[str, ...] = ()
    try:
        dataset = assemble(folder, as_read, config.model_copy(update={"on_bad_image": "skip"}))
        if corrections is not None:
            dataset = with_changes(dataset, corrections, changes)
    except DataError as error:
        notes = (str(error),)
    else:
        num_images = _per_split(dataset)
        parts = {name: dataset.split(name) for name in SPLIT_NAMES}
        warned = group_warnings(dataset.classes, parts, contents.split_folders)
        told = tuple(line for line in warned if "split leaks" not in line)  # a note says more of that
        leaks = _leaks(contents, parts, near)
    within_class, across_classes, across_splits = _find_duplicates(
        pictures.paths, pictures.hashes, contents.labels, contents.splits
    )
    return Inventory(
        name=name_of(folder),
        classes=contents.classes,
        num_images=num_images,
        image_shape=(pictures.images.shape[1], *pictures.images.shape[2:]),
        original_sizes=Sizes(_spread(pictures.sizes[:, 0]), _spread(pictures.sizes[:, 1])),
        unusable=contents.problems,
        stray=contents.stray,
        duplicates_within_class=within_class,
        duplicates_across_classes=across_classes,
        duplicates_across_splits=across_splits,
        near_duplicates_across_classes=_near(contents, near, contents.labels),
        near_duplicates_across_splits=_near(contents, near, contents.splits),
        leaks=leaks,
        warnings=(*contents.notices, *missing_images(contents), *told, *pictures.warnings),
        notes=(*notes, *(leak.told for leak in leaks), *_of_names(contents, near), *_notes(num_images)),
    )


def _with_corrections(contents: FolderContents, found: Corrected) -> FolderContents:
    contents = replace(contents, labels=found.labels)
    if found.is_kept.all():
        return contents
    pictures, kept = contents.pictures, np.flatnonzero(found.is_kept)
    names = contents.group_names
    return replace(
        contents,
        pictures=replace(
            pictures,
            images=gathered(pictures.images, kept),
            sizes=pictures.sizes[kept],
            hashes=pictures.hashes[kept],
            thumbnails=pictures.thumbnails[kept],
            indices=pictures.indices[kept],
            paths=tuple(pictures.paths[i] for i in kept),
        ),
        splits=contents.splits[kept],
        labels=contents.labels[kept],
        group_names=None if names is None else tuple(names[i] for i in kept),
        weights=None if contents.weights is None else contents.weights[kept],
    )


def _of_the_kept(pairs: npt.NDArray[np.int64], is_kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the pairs of pictures that are kept, by their places among these."""
    place = np.cumsum(is_kept) - 1
    return place[pairs[is_kept[pairs].all(1)]]


def _near(contents: FolderContents, pairs: npt.NDArray[np.int64], kinds: npt.NDArray[np.generic]) -> Groups:
    """Return the names of pairs that are not of one kind, and not equal."""
    paths, hashes = contents.pictures.paths, contents.pictures.hashes
    one, other = pairs.T
    apart = pairs[(kinds[one] != kinds[other]) & (hashes[one] != hashes[other])]
    return tuple(sorted((paths[i], paths[j]) for i, j in apart.tolist()))


def _leaks(
    contents: FolderContents, parts: Mapping[str, Split], pairs: npt.NDArray[np.int64]
) -> tuple[Leak, ...]:
    pictures = contents.pictures
    keys = [pictures.hashes.tolist(), *([contents.group_names] if contents.group_names else [])]
    groups = joined_groups(len(pictures.paths), keys, pairs)
    place = {path: index for index, path in enumerate(pictures.paths)}
    splits = {name: [place[path] for path in part.names] for name, part in parts.items()}
    return find_leaks(pictures.thumbnails, contents.labels, groups, splits)


def _of_names(contents: FolderContents, pairs: npt.NDArray[np.int64]) -> list[str]:
    paths = contents.pictures.paths
    notes = [pairs_note(paths), series_note(paths) if contents.group_names is None else None]
    if num := len(np.unique(pairs)):
        notes.append(f"{num:,} pictures show nearly the same as another one; such pictures stay in one split")
    return [note for note in notes if note]


def _per_split(dataset: ImageDataset) -> dict[str, dict[str, int]]:
    return {name: _per_class(dataset.classes, dataset.split(name).labels) for name in SPLIT_NAMES}


def _per_class(classes: Sequence[str], labels: npt.NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _spread(pixels: npt.NDArray[np.int64]) -> tuple[int, float, int]:
    return (int(pixels.min()), float(np.median(pixels)), int(pixels.max())) if len(pixels) else (0, 0.0, 0)


def duplicates(dataset: ImageDataset, splits: Sequence[str]) -> tuple[Groups, Groups, Groups]:
    """Return the names of equal pictures in these splits: within a class, across classes, across splits.

    Pictures are equal when all pixels are, at the size in which they are trained on.
    """
    chosen = [dataset.split(name) for name in splits]
    return _find_duplicates(
        [name for split in chosen for name in split.names],
        np.concatenate([content_hashes(split.images) for split in chosen]),
        np.concatenate([split.labels for split in chosen]),
        np.repeat(splits, list(map(len, chosen))),
    )


def _find_duplicates(
    names: Sequence[str],
    hashes: npt.NDArray[np.uint64],
    labels: npt.NDArray[np.int64],
    splits: npt.NDArray[np.str_],
) -> tuple[Groups, Groups, Groups]:
    order = np.argsort(hashes, kind="stable")
    (starts,) = np.nonzero(np.diff(hashes[order], prepend=hashes[order][:1] + 1))
    within: list[tuple[str, ...]] = []
    across_classes: list[tuple[str, ...]] = []
    across_splits: list[tuple[str, ...]] = []
    for group in np.split(order, starts[1:]):
        if len(group) < 2:
            continue
        equal = tuple(sorted(names[i] for i in group))
        (within if len(set(labels[group])) == 1 else across_classes).append(equal)
        if len(set(splits[group])) > 1:
            across_splits.append(equal)
    return tuple(sorted(within)), tuple(sorted(across_classes)), tuple(sorted(across_splits))


def _notes(num_images: dict[str, dict[str, int]]) -> tuple[str, ...]:
    train = num_images["train"]
    notes = []
    few = sorted((name for name, count in train.items() if count < FEW_IMAGES), key=train.__getitem__)
    if few:
        told = ", ".join(f"{name} ({train[name]})" for name in few[:_MAX_NAMES])
        more = f" and {len(few) - _MAX_NAMES:,} more" if len(few) > _MAX_NAMES else ""
        classes, their = ("1 class has", "its") if len(few) == 1 else (f"{len(few):,} classes have", "their")
        notes.append(
            f"{classes} fewer than {FEW_IMAGES} training images: {told}{more}; {their} accuracy will be uncertain"
        )
    largest, smallest = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
    if train[smallest] and train[largest] / train[smallest] >= UNBALANCED:
        share = train[largest] / sum(train.values())
        notes.append(
            f"unbalanced: class {largest} has {train[largest] / train[smallest]:.1f} times the training "
            f"images of {smallest}; always answering {largest} would be right in {share:.1%} of them"
        )
    return tuple(notes)
