"""Which images a person should look at, and why: wrong labels, near-duplicates in two classes, images of no class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split
from kilnet.data.near_duplicates import kept_near_duplicates
from kilnet.inference.unknown import KNOWN_KEPT, KnownPictures
from kilnet.inspection.label_errors import AT_LEAST, label_errors
from kilnet.metrics.logits import UNSCALED, LogitScale, softmax

UNLABELLED = "unlabelled"
"""Stands where the split of a picture does, if it has no label."""
_NUM_SAID = 3  # classes that are shown of what the network says


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A split, and what a network says of it.

    Attributes:
        images: the split; labels are indices into the classes.
        logits: (num_images, num_classes), by a network or a last layer that was not fitted to these labels.
        evidence: of the network itself, by which images of no class are told, see `Classifier.evidence`.
        scale: what `logits` go through before they become probabilities.
    """

    images: Split
    logits: npt.NDArray[np.float32]
    evidence: npt.NDArray[np.float32]
    scale: LogitScale = UNSCALED


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image by its split, its place in that, its name and its class."""

    split: str
    place: int
    name: str
    label: str


@dataclass(frozen=True, kw_only=True)
class ReviewItem:
    """An image to look at.

    Attributes:
        image: which one, with the class that it has now; "" where it has none.
        said: the most probable classes, with their probabilities.
        suspicion: 0 to 1, by which items are ordered; of labels the probability that they are wrong.
        reasons: why it is shown, one line each.
        twin: an image in another class that shows nearly the same.
    """

    image: Shown
    said: tuple[tuple[str, float], ...]
    suspicion: float
    reasons: tuple[str, ...]
    twin: Shown | None = None


def review_queue(
    parts: Mapping[str, Judged],
    classes: Sequence[str],
    thumbnails: Mapping[str, npt.NDArray[np.uint8]] | None,
    known: KnownPictures | None,
) -> tuple[ReviewItem, ...]:
    """Return the images to look at, the most suspicious first.

    A label is shown where it is worth a look (see `LabelErrors`). Of two images in two classes that show nearly the
    same, one label must be wrong, so each is at least as suspicious as a toss of a coin. An image that is stranger than
    the run's limit comes after all of these, the strangest first, unless its label is suspected too: as many as one in
    twenty known images are so strange.

    Args:
        parts: splits by name.
        classes: class names.
        thumbnails: of each split, as for `near_duplicates`; None, none are looked for.
        known: what images of no class are told from; None, no image is shown for that.
    """
    found: list[ReviewItem] = []
    strange = {name: known.strangeness(part.evidence) for name, part in parts.items()} if known else {}
    usual = np.sort(strange.get("validation", next(iter(strange.values()), np.zeros(0))))
    twins = {} if thumbnails is None else _twins(parts, classes, thumbnails)
    for name, part in parts.items():
        probabilities = softmax(part.scale(part.logits))
        labels = label_errors(probabilities, part.images.labels)
        suspicion, worth_a_look = np.maximum(labels.doubt, labels.suspicion), labels.worth_a_look
        for place in range(len(part.images)):
            doubt, reasons = 0.0, []
            shown = _shown(name, part.images, place, classes)
            if worth_a_look[place] and suspicion[place] < AT_LEAST:
                reasons.append("the label may be wrong: the network is sure of another class")
                best = float(probabilities[place].max())
                doubt = AT_LEAST * (1 + best - float(labels.given[place]))
            elif worth_a_look[place]:
                doubt = float(suspicion[place])
                probably = "is probably" if doubt > 0.5 else "may be"
                reasons.append(f"the label {probably} wrong ({min(doubt, 0.99):.0%})")
            twin = twins.get((name, place))
            if twin is not None:
                reasons.append(f"shows nearly the same as a picture whose label is {twin.label}")
                doubt = max(doubt, 0.5)
            if known is not None and strange[name][place] > known.limit:
                reasons.append("looks like none of the classes")
                rarer = 1 - np.searchsorted(usual, strange[name][place]) / len(usual)
                doubt = max(doubt, AT_LEAST * (1 - min(1.0, rarer / (1 - KNOWN_KEPT))))
            if reasons:
                said = _said(probabilities[place], classes)
                item = ReviewItem(image=shown, said=said, suspicion=doubt, reasons=tuple(reasons), twin=twin)
                found.append(item)
    return tuple(sorted(found, key=lambda item: (-item.suspicion, item.image.name)))


def without_labels(
    images: Split, logits: npt.NDArray[np.floating[Any]], classes: Sequence[str], reason: str
) -> list[ReviewItem]:
    """Return items of images that have no label, in the order in which they are.

    Args:
        images: whose labels say nothing.
        logits: (num_images, num_classes), calibrated.
        classes: class names.
        reason: why each is shown.
    """
    probabilities = softmax(logits)
    return [
        ReviewItem(
            image=replace(_shown(UNLABELLED, images, place, classes), label=""),
            said=_said(probabilities[place], classes),
            suspicion=float(1 - probabilities[place].max()),
            reasons=(reason,),
        )
        for place in range(len(images))
    ]


def _shown(split: str, images: Split, place: int, classes: Sequence[str]) -> Shown:
    return Shown(split=split, place=place, name=images.names[place], label=classes[images.labels[place]])


def _said(probabilities: npt.NDArray[np.float64], classes: Sequence[str]) -> tuple[tuple[str, float], ...]:
    best = np.argsort(-probabilities, kind="stable")[:_NUM_SAID]
    return tuple((classes[index], float(probabilities[index])) for index in best)


def _twins(
    parts: Mapping[str, Judged], classes: Sequence[str], thumbnails: Mapping[str, npt.NDArray[np.uint8]]
) -> dict[tuple[str, int], Shown]:
    """Return an image in another class for each image that shows nearly the same as one, by split and place."""
    places = [(name, place) for name, part in parts.items() for place in range(len(part.images))]
    labels = np.concatenate([part.images.labels for part in parts.values()])
    found: dict[tuple[str, int], Shown] = {}
    for one, other in kept_near_duplicates(np.concatenate([thumbnails[name] for name in parts])).tolist():
        if labels[one] != labels[other]:
            for this, that in ((one, other), (other, one)):
                split, place = places[that]
                found.setdefault(places[this], _shown(split, parts[split].images, place, classes))
    return found
