"""What a run is worth, in a sentence and on a few cards; every word of it from the numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from kilnet.inference.calibration import TARGET_ACCURACY, Calibration
from kilnet.metrics.classification import Evaluation
from kilnet.page.document import isolated, percent
from kilnet.page.svg import interval_bar
from kilnet.runs.wording import counted, shorten

_MAX_CHARACTERS = 40  # of a class name in a sentence


@dataclass(frozen=True)
class Card:
    """One number with what it means.

    Attributes:
        title: of the number.
        value: the number with its unit.
        detail: a sentence about it.
        chart: a small drawing of it, if there is one.
    """

    title: str
    value: str
    detail: Markup
    chart: Markup | None = None


@dataclass(frozen=True)
class Head:
    """What stands at the top of a page: a verdict, cards, and the worst mistakes as places in the album."""

    verdict: Markup
    cards: Sequence[Card]
    worst: Sequence[int]


@dataclass(frozen=True)
class Cost:
    """What the network costs: images a second on this machine, and how it computed; parameters; bytes of weights."""

    images_per_second: float
    computed_with: str
    num_parameters: int
    num_bytes: int


def verdict(evaluation: Evaluation, calibration: Calibration | None) -> Markup:
    """Return what stands out: the commonest confusion, how sure the network is, and classes that it never predicts."""
    sentences = [
        _confusion(evaluation),
        _sureness(calibration),
        _never(evaluation),
        _against_chance(evaluation),
    ]
    return Markup(" ").join(sentence for sentence in sentences if sentence)


def cards(evaluation: Evaluation, calibration: Calibration | None, cost: Cost) -> list[Card]:
    """Return the cards of a run: accuracy, macro recall, calibration, speed, size."""
    return [
        _accuracy(evaluation),
        _recall(evaluation),
        _calibration(evaluation, calibration),
        Card(
            "Images a second here",
            _three_digits(cost.images_per_second),
            Markup("On the machine that wrote this page, 64 at a time: {}.").format(cost.computed_with),
        ),
        Card(
            "Size",
            f"{cost.num_bytes / 1e6:.2f} MB",
            Markup("{} parameters.").format(f"{cost.num_parameters:,}"),
        ),
    ]


def _class(name: str) -> Markup:
    return isolated(shorten(name, _MAX_CHARACTERS))


def _confusion(evaluation: Evaluation) -> Markup:
    pairs = evaluation.most_confused(1)
    if not pairs:
        return Markup("All {} images are right.").format(f"{evaluation.num_images:,}")
    truth, predicted, count = pairs[0]
    of = int(evaluation.support[evaluation.classes.index(truth)])
    return Markup("Confuses {} with {} most ({:,} of {:,} images).").format(
        _class(truth), _class(predicted), count, of
    )


def _sureness(calibration: Calibration | None) -> Markup:
    if calibration is None or not calibration.num_images:
        return Markup("")
    if calibration.threshold is None:
        return Markup(
            "On validation images no confidence is enough to be right in {}, so a person should look at all."
        ).format(f"{TARGET_ACCURACY:.0%}")
    sure, right = (
        calibration.num_sure / calibration.num_images,
        calibration.num_sure_correct / calibration.num_sure,
    )
    return Markup("Sure of {} of the validation images, and right in {} of those.").format(
        _whole(sure), _whole(right)
    )


def _never(evaluation: Evaluation) -> Markup:
    never = evaluation.never_predicted
    if len(never) == 1:
        return Markup("{} is never predicted.").format(_class(never[0]))
    total = len(evaluation.classes)
    return (
        Markup("{:,} of {:,} classes are never predicted.").format(len(never), total) if never else Markup("")
    )


def _against_chance(evaluation: Evaluation) -> Markup:
    if evaluation.accuracy_interval[0] > evaluation.majority_share:
        return Markup("")
    return Markup("That is not clearly better than to say {} every time.").format(
        _class(evaluation.majority_class)
    )


def _accuracy(evaluation: Evaluation) -> Card:
    low, high = evaluation.accuracy_interval
    share, name = evaluation.majority_share, evaluation.majority_class
    baseline = Markup(" Whoever always says {}, the commonest class, is right in {}.").format(
        _class(name), percent(share)
    )
    title = (
        f"Accuracy {evaluation.accuracy:.1%} on a bar from 0 to 100%, 95% interval {low:.1%} to {high:.1%}; "
        f"the commonest class alone gives {share:.1%}"
    )
    detail = Markup("95% interval {} to {} (Wilson), {} of {} <bdi>{}</bdi> images right.{}").format(
        percent(low),
        percent(high),
        f"{evaluation.num_correct:,}",
        f"{evaluation.num_images:,}",
        shorten(evaluation.split, _MAX_CHARACTERS),
        baseline,
    )
    chart = interval_bar(title, evaluation.accuracy, low, high, share)
    return Card("Accuracy", percent(evaluation.accuracy), detail, chart)


def _recall(evaluation: Evaluation) -> Card:
    recall = evaluation.recall
    worst = int(np.nanargmin(recall))
    low, high = evaluation.macro_recall_interval
    detail = Markup(
        "95% interval {} to {}. The mean of the classes, each counted alike; the worst is {} with {}."
    ).format(percent(low), percent(high), _class(evaluation.classes[worst]), percent(float(recall[worst])))
    if missing := len(evaluation.without_images):
        have = "has no images here, and counts" if missing == 1 else "have no images here, and count"
        detail += f" {counted(missing, 'class')} {have} as 0."
    return Card("Macro recall", percent(evaluation.macro_recall), detail)


def _calibration(evaluation: Evaluation, calibration: Calibration | None) -> Card:
    title = "Calibration error"
    if calibration is None or math.isnan(calibration.calibration_error_after):
        detail = Markup("The mean gap between confidence and accuracy, on these images.")
        return Card(title, percent(evaluation.calibration_error), detail)
    value = f"{calibration.calibration_error_before:.1%} → {calibration.calibration_error_after:.1%}"
    return Card(
        title,
        value,
        Markup("Before and after its confidence is corrected ({}), on {} validation images.").format(
            str(calibration.scale), f"{calibration.num_images:,}"
        ),
    )


def _whole(ratio: float) -> str:
    """Return a percentage without decimals that is 0% or 100% only where it is."""
    return f"{ratio:.1%}" if 0 < ratio < 0.005 or 0.995 <= ratio < 1 else f"{ratio:.0%}"


def _three_digits(number: float) -> str:
    rounded = float(f"{number:.3g}")
    digits = 0 if rounded >= 100 or rounded == 0 else 2 - math.floor(math.log10(rounded))
    return f"{rounded:,.{digits}f}"
