"""A folder of pictures: one sub-folder per class, with or without train, validation and test above them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from kilnet.config import DataConfig
from kilnet.data.archive import ENDINGS, Place
from kilnet.data.class_folders import (
    ClassFolders,
    Problem,
    find_classes,
    find_files,
    folders_below,
    turned_round,
)
from kilnet.data.dataset import SPLIT_NAMES, ImageDataset, LabelledImages, Progress, Split, silent
from kilnet.data.decoded import DecodedPictures
from kilnet.data.file_names import pairs_note
from kilnet.data.pictures import Pictures, read_pictures
from kilnet.data.splits import Rows, complete, shuffled
from kilnet.data.together import group_warnings, kept_together, near_notice
from kilnet.errors import DataError

MAX_WARNINGS = 5
"""The most files that are named when training starts; `kilnet data` names all."""


@dataclass(frozen=True, eq=False)
class FolderContents:
    """Every file in the class folders, decoded or refused.

    Attributes:
        splits, labels: one per picture in `pictures`.
        split_folders: the names of the folders that are splits, by split.
        problems: files and folders that cannot be used, with the reason.
        stray: files that are in no class folder.
        notices: how the names of folders were understood, where that is not plain.
        group_names: one per picture, from a table; None where it has no such column.
        weights: float32, one per picture, from a table; None where it has no such column.
        unit: what a problem is one of: a file, or a row of a table.
    """

    classes: tuple[str, ...]
    pictures: Pictures
    splits: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    split_folders: dict[str, str]
    problems: tuple[Problem, ...]
    stray: tuple[str, ...]
    notices: tuple[str, ...]
    group_names: tuple[str, ...] | None = None
    weights: npt.NDArray[np.float32] | None = None
    unit: Literal["file", "row"] = "file"


def assemble(folder: Path, contents: FolderContents, config: DataConfig) -> ImageDataset:
    """Make a data set of what was found in a folder, a table or an archive; its splits by `complete`.

    The training images come in a random order of `split_seed`, so that any first part of them is a fair sample.

    Raises:
        DataError: an empty class, a class too small to split, or, unless `on_bad_image` is "skip", a file that is no
            usable image.
    """
    warnings = _warnings(folder, contents, config)
    groups = kept_together(contents.pictures, contents.group_names, config.near_duplicates)
    every = _every(contents, groups)
    given = {name: Rows(every, np.flatnonzero(contents.splits == name)) for name in SPLIT_NAMES}
    is_near = groups is not None and contents.group_names is None
    if groups is not None and is_near:
        warnings.append(f"{folder}: {near_notice(groups)}")
    for label, name in enumerate(contents.classes):
        if not np.any(given["train"].labels == label):
            raise DataError(f"{folder}: class {name} has no usable image to train on; add some or remove it")
    if len(contents.classes) < 2:
        raise DataError(
            f"{folder}: one class ({contents.classes[0]}); a classifier needs at least two, "
            f"each a sub-folder of pictures{_deeper(folder, contents)}"
        )
    if contents.weights is not None and not contents.weights[given["train"].rows].any():
        raise DataError(f"{folder}: all weights are 0; give some images a weight above 0")
    validation, test = (given[name] if len(given[name]) else None for name in ("validation", "test"))
    warnings += missing_images(contents)
    if pairs := pairs_note(contents.pictures.paths):
        warnings.append(f"{folder}: {pairs}")
    in_random_order = shuffled(given["train"], config.split_seed)
    try:
        splits = complete(in_random_order, validation, test, contents.classes, config)
    except DataError as error:
        if is_near:  # rather than refuse pictures that can be split
            return assemble(folder, contents, config.model_copy(update={"near_duplicates": "apart"}))
        raise DataError(f"{folder}: {error}") from None
    warnings += group_warnings(
        contents.classes, dict(zip(SPLIT_NAMES, splits, strict=True)), contents.split_folders
    )
    return ImageDataset(name_of(folder), contents.classes, *splits, tuple(warnings))


def as_they_are(folder: Path, contents: FolderContents, config: DataConfig) -> LabelledImages:
    """Return what `read_folder` found, to evaluate a network on: nothing is split, and classes may be missing.

    Raises:
        DataError: no image, or, unless `on_bad_image` is "skip", a file that is no usable image.
    """
    warnings = _warnings(folder, contents, config)
    every = _every(contents)
    splits = {
        name: Rows(every, np.flatnonzero(contents.splits == name)).split() for name in contents.split_folders
    }
    if not len(every):
        raise DataError(f"{folder}: no usable image in its class folders")
    return LabelledImages(name_of(folder), contents.classes, splits, every, tuple(warnings))


def name_of(source: Path) -> str:
    """Return what a data set is called: as its folder, or as its file without the ending."""
    path = source.resolve()
    ending = next((end for end in (*ENDINGS, path.suffix) if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(ending)] if path.is_file() and ending else path.name


def read_folder(
    folder: Place,
    config: DataConfig,
    progress: Progress = silent,
    known: Sequence[str] | None = None,
    decoded: DecodedPictures | None = None,
) -> FolderContents:
    """Decode every file in the class folders of `folder`; only a folder without classes is refused.

    All pictures become RGB squares of one side (`to_square`): `image_size`, or else fitted to them (`default_side`).

    Args:
        folder, known: see `find_classes`.
        config: says how large the images become.
        progress: told how far decoding is.
        decoded: see `read_pictures`.

    Raises:
        DataError: as in `find_classes`.
    """
    layout: ClassFolders[Place] = find_classes(folder, known)
    problems: list[Problem] = []
    paths: list[str] = []
    where: list[tuple[str, int]] = []
    for split, label, class_folder in layout.folders:
        files, unreadable = find_files(class_folder)
        paths += [path.relative_to(folder).as_posix() for path in files]
        where += [(split, label)] * len(files)
        problems += [Problem(path.relative_to(folder).as_posix(), reason) for path, reason in unreadable]
    fitting = config.fit or "pad"
    pictures: Pictures = read_pictures(folder, paths, config.image_size, progress, fitting, None, decoded)
    kept = [where[i] for i in pictures.indices]
    notices = layout.notices if layout.splits else (*layout.notices, *turned_round(paths))
    return FolderContents(
        classes=layout.classes,
        pictures=pictures,
        splits=np.array([split for split, _ in kept], dtype=np.str_),
        labels=np.array([label for _, label in kept], dtype=np.int64),
        split_folders={split: split_folder.name for split, split_folder in layout.splits.items()},
        problems=(*problems, *pictures.problems),
        stray=layout.stray,
        notices=notices,
    )


def _deeper(folder: Path, contents: FolderContents) -> str:
    """Return advice where the folder of the only class holds folders, as an archive's folder does."""
    below = {} if contents.split_folders else folders_below(contents.pictures.paths)
    return "".join(f"; if they are in {folder / name}, give that" for name in below)


def _warnings(folder: Path, contents: FolderContents, config: DataConfig) -> list[str]:
    """Return how the folder was understood and what is left out of it.

    Raises:
        DataError: a file is no usable image, and `on_bad_image` is "fail".
    """
    warnings = [f"{folder}: {notice}" for notice in contents.notices]
    warnings += contents.pictures.warnings[:MAX_WARNINGS]
    num_more = len(contents.pictures.warnings) - MAX_WARNINGS
    if num_more > 0:
        warnings.append(f"and {num_more} more; `kilnet data {shlex.quote(str(folder))}` lists them")
    if contents.stray:
        first, num = contents.stray[0], len(contents.stray)
        left = f"1 file, {first}, is" if num == 1 else f"{num:,} files, first {first}, are"
        warnings.append(f"{folder}: left out: {left} in no class folder")
    if contents.problems:
        first_bad = contents.problems[0]
        count = "1 file is" if len(contents.problems) == 1 else f"{len(contents.problems)} files are"
        found = f"{count} no usable image, first {first_bad.path}: {first_bad.reason}"
        if contents.unit == "row":
            count = "1 row" if len(contents.problems) == 1 else f"{len(contents.problems)} rows"
            found = f"{count} cannot be used, first {first_bad.path}: {first_bad.reason}"
        if config.on_bad_image == "fail":
            raise DataError(
                f"{folder}: {found}; `data.on_bad_image='skip'` leaves such {contents.unit}s out; "
                f"`kilnet.inspect_data({str(folder)!r})` lists them"
            )
        warnings.append(f"{folder}: left out: {found}")
    return warnings


def missing_images(contents: FolderContents) -> list[str]:
    """Say it where a split folder has no images, or none of some classes; of train that is an error elsewhere."""
    found = []
    for name, folder in contents.split_folders.items():
        counts = np.bincount(contents.labels[contents.splits == name], minlength=len(contents.classes))
        absent = [contents.classes[label] for label in np.flatnonzero(counts == 0)]
        if name == "train" or not absent:
            continue
        if not counts.any():
            found.append(f"{folder} has no usable image in class folders; {name} is split off from train")
        else:
            others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            found.append(f"{folder} has no image of class {absent[0]}{others}")
    return found


def _every(contents: FolderContents, groups: npt.NDArray[np.int64] | None = None) -> Split:
    """Return the pictures of all splits as one."""
    pictures = contents.pictures
    return Split(pictures.images, contents.labels, pictures.paths, groups, contents.weights)
