"""Picture files by the thousand, classified by as many threads as there are."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from kilnet.data.class_folders import Problem, find_files
from kilnet.data.decode import to_input
from kilnet.errors import DataError, InputError
from kilnet.hardware import single_threads
from kilnet.inference.classifier import Classifier, Prediction
from kilnet.inference.forward import copy_sharing_weights
from kilnet.storage import given_path

# Files a thread takes at a time: a batch for the network, few enough that all threads have work.
_FILES_PER_BATCH = 64


def predict_files(classifier: Classifier, paths: Iterable[Path | Problem]) -> Iterator[Prediction | Problem]:
    """Classify files by as many threads as `torch.get_num_threads` says, each with files of its own.

    Args:
        paths: read as they are needed; problems are passed on.

    Yields:
        For each path, in order, a prediction, or the reason why there is none.
    """
    num_threads = torch.get_num_threads()
    own, stopped = threading.local(), threading.Event()

    def work(part: tuple[Path | Problem, ...]) -> list[Prediction | Problem]:
        if not hasattr(own, "classifier"):
            own.classifier = replace(classifier, model=copy_sharing_weights(classifier.model))
        return _classify(own.classifier, part, stopped.is_set)

    pending: deque[Future[list[Prediction | Problem]]] = deque()
    with single_threads(num_threads) as pool:
        try:
            remaining = iter(paths)
            while part := tuple(islice(remaining, _FILES_PER_BATCH)):
                pending.append(pool.submit(work, part))
                if len(pending) > num_threads:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            stopped.set()  # Ctrl-C: do not go through the files of each thread first
            for future in pending:
                future.cancel()


def find_pictures(sources: Iterable[str | Path]) -> Iterator[Path | Problem]:
    """Yield files as they are, and for a folder the files below it, sorted, hidden ones left out."""
    for given in sources:
        try:
            source = given_path(given)
        except InputError:
            yield Path(given)  # decoding says what is wrong with it
            continue
        if source.is_dir():
            files, problems = find_files(source)
            yield from files
            yield from (Problem(str(path), reason) for path, reason in problems)
            if not files and not problems:
                yield Problem(str(source), "a folder without files")
        else:
            yield source


def _classify(
    classifier: Classifier, paths: tuple[Path | Problem, ...], is_stopped: Callable[[], bool]
) -> list[Prediction | Problem]:
    found: list[Path | Problem] = []
    images = []
    for path in paths:
        if is_stopped():
            return []
        if isinstance(path, Path):
            try:
                fitting = classifier.preprocessing.fitting
                images.append(to_input(path, classifier.image_shape, is_stopped, fitting))
            except DataError as error:
                path = Problem(str(path), str(error))
        found.append(path)
    usable = [str(path) for path in found if isinstance(path, Path)]
    predictions = iter(classifier.predictions(usable, np.stack(images)) if usable else [])
    return [next(predictions) if isinstance(path, Path) else path for path in found]
