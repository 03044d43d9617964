"""Measuring how well a run tells pictures that are like none of its classes."""

from pathlib import Path

import numpy as np

from kilnet.data.class_folders import Problem
from kilnet.data.decode import to_input
from kilnet.errors import DataError
from kilnet.inference.picture_files import find_pictures
from kilnet.inference.unknown import KnownPictures, UnknownMeasured, measure
from kilnet.runs.run import Run
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.winner import opened_or_winner


def measure_unknown(
    run: Run | str | Path,
    unknown: str | Path,
    *,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> UnknownMeasured:
    """Compare pictures of none of a run's classes with its validation images.

    Args:
        run: what `train` returned, its folder, or that of a search, whose winner is measured.
        unknown: a folder of pictures, or one of them; files that are no pictures are left out.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: see `kilnet.load`.
        progress: whether to show progress on standard error.

    Raises:
        DataError: there is no picture.
        KilnetError: see `kilnet.errors`.
    """
    with ProgressDisplay(enabled=progress) as display:
        run = opened_or_winner(run, model, display.say)
        dataset = run.own_data(data_dir=data_dir, progress=display.advance)
        calibration = run.calibrate(dataset)
        classifier = run.classifier
        classifier.settings.with_all_threads().apply()
        images, num_bad = [], 0
        for found in find_pictures([unknown]):
            try:
                if isinstance(found, Problem):
                    raise DataError(found.reason)
                images.append(
                    to_input(found, classifier.image_shape, fitting=classifier.preprocessing.fitting)
                )
            except DataError:
                num_bad += 1
        if not images:
            raise DataError(f"{unknown}: no picture that can be used")
        if num_bad:
            display.say(f"{unknown}: {num_bad:,} files cannot be used, and are left out")
        known, foreign = map(classifier.judged, (dataset.validation.images, np.stack(images)))
    return measure(known, foreign, calibration.known or KnownPictures.fit(known[1]))
