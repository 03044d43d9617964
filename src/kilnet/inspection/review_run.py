"""What of a run's data a person should look at, by the networks that are there."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.data.archive import is_archive
from kilnet.data.dataset import ImageDataset, Progress, Split, silent
from kilnet.data.labelled_files import find_source, read_labelled
from kilnet.data.near_duplicates import SIDE, thumbnail
from kilnet.data.sources import NAMES
from kilnet.errors import DataError, KilnetError, ModelError
from kilnet.inference.classifier import Classifier
from kilnet.inspection.last_layer import held_out_logits, last_features
from kilnet.inspection.review_queue import Judged, ReviewItem, review_queue
from kilnet.runs.evaluation import EvaluatedSplit
from kilnet.runs.folds import CrossValidation
from kilnet.runs.run import Run
from kilnet.storage import given_path

_FOLD = re.compile(r"1-of-(\d+)")


class RunReview:
    """The suspicious images of a run: of training and validation, and of the test where that is asked for.

    Args:
        run: with its data at hand.
        dataset: the run's own data.
        classifier: its network, calibrated where it is.
        of_training: logits of the training images by networks that have not seen them; None, those that there are.
        progress: told what is being computed.
        say: told how the training images are judged.
    """

    def __init__(
        self,
        run: Run,
        dataset: ImageDataset,
        classifier: Classifier,
        of_training: npt.NDArray[np.float32] | None = None,
        progress: Progress = silent,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._dataset, self._classifier = dataset, classifier
        self._parts: dict[str, Judged] = {}
        images = dataset.train.images
        progress("look at training images", 0, len(images))
        evidence = classifier.evidence(images)
        held_out = self._by_folds(run) if of_training is None else of_training
        if held_out is not None:
            say("training labels are judged by networks that have not seen them (folds)")
        else:
            held_out = self._by_last_layer(progress, say)
        if held_out is not None:
            self._parts["train"] = Judged(images=dataset.train, logits=held_out, evidence=evidence)
        self.add(run.evaluated("validation", dataset))
        self._thumbnails = _thumbnails(run)

    def add(self, evaluated: EvaluatedSplit) -> None:
        """Add the images of a split that the network was not trained on."""
        self._parts[evaluated.evaluation.split] = Judged(
            images=evaluated.images,
            logits=evaluated.logits,
            evidence=self._classifier.evidence(evaluated.images.images),
            scale=self._classifier.scale,
        )

    def items(self) -> tuple[ReviewItem, ...]:
        """Return the images to look at, see `review_queue`."""
        thumbnails = {name: self._thumbnails(part.images) for name, part in self._parts.items()}
        return review_queue(self._parts, self._dataset.classes, thumbnails, self._classifier.known)

    @property
    def images(self) -> Mapping[str, npt.NDArray[np.uint8]]:
        """The images of each split that is looked at."""
        return {name: part.images.images for name, part in self._parts.items()}

    def _by_folds(self, run: Run) -> npt.NDArray[np.float32] | None:
        """Return what the networks of folds say that were trained before, if there are some; the most folds."""
        found = (_FOLD.fullmatch(path.name) for path in run.files.path.glob("folds/1-of-*"))
        for num_folds in sorted((int(match[1]) for match in found if match), reverse=True):
            try:
                return CrossValidation(
                    self._dataset, run.config, run.files, num_folds, run.own_models
                ).logits()
            except (KilnetError, FileNotFoundError):
                continue  # they are not finished, or of other images
        return None

    def _by_last_layer(
        self, progress: Progress, say: Callable[[str], None]
    ) -> npt.NDArray[np.float32] | None:
        split, num_classes = self._dataset.train, len(self._dataset.classes)
        try:
            features = last_features(self._classifier, split.images, progress)
            held_out = held_out_logits(features, split, num_classes, progress=progress)
        except (ModelError, DataError) as error:
            say(f"no training labels are judged: {error}; folds would do it: `num_folds=5`")
            return None
        say(
            "training labels are judged by a last layer that has not seen them; networks that have not find more: "
            "`num_folds=5`"
        )
        return held_out


def original_folder(run: Run, moved: str | Path | None = None) -> Path | None:
    """Return the folder in which the names of a run's images are paths of files; None where they are no such."""
    config = run.config.data
    if config.source in NAMES:
        return None
    source = given_path(config.source if moved is None else moved)
    if source.is_dir():
        return source
    if not source.is_file() or is_archive(source):
        return None
    return source.parent if config.root is None else given_path(config.root)


def _thumbnails(run: Run) -> Callable[[Split], npt.NDArray[np.uint8]]:
    """Return what makes thumbnails of a split: of whole pictures where they are files, else of the squares."""
    config = run.data_config().model_copy(update={"corrections": None, "on_bad_image": "skip"})
    known: dict[str, npt.NDArray[np.uint8]] = {}
    if config.source not in NAMES:
        try:
            pictures = read_labelled(find_source(config.source, NAMES), config).pictures
            known = dict(zip(pictures.paths, pictures.thumbnails, strict=True))
        except KilnetError:
            known = {}  # in memory, or moved

    def made(split: Split) -> npt.NDArray[np.uint8]:
        if all(name in known for name in split.names):
            return _stacked([known[name] for name in split.names])
        return _stacked([_small(image) for image in split.images])

    return made


def _stacked(thumbnails: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    return np.stack(thumbnails) if thumbnails else np.empty((0, SIDE, SIDE, 3), np.uint8)


def _small(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    return thumbnail(np.ascontiguousarray(pixels))
