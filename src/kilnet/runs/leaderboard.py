"""Which runs are as good as the best, as far as their validation images can tell."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from kilnet.inference.mcnemar import mcnemar
from kilnet.metrics.intervals import CONFIDENCE_LEVEL, wilson_interval
from kilnet.runs.listing import ListedRun

_most_alike = lru_cache(maxsize=10_000)(mcnemar)


def accuracy_interval(values: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the 95% interval of a listed run's validation accuracy, as fractions; None where it is not known."""
    if (bounds := values.get("interval")) is not None:
        return bounds[0], bounds[1]
    if values.get("num_validation") and "num_validation_correct" in values:
        return wilson_interval(values["num_validation_correct"], values["num_validation"])
    return None


def interval_text(values: Mapping[str, Any]) -> str:
    """Return this interval in per cent, such as `71.0–72.8`; "" where it is not known."""
    bounds = accuracy_interval(values)
    return "" if bounds is None else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f}"


def tied_with_best(runs: Sequence[ListedRun]) -> set[int]:
    """Return the places of the runs that may be the best of those validated on the same images.

    With 95% probability the truly best is among them: each is compared with the most accurate, and its p-value is
    multiplied by the number of comparisons (Hsu 1984, "Constrained Simultaneous Confidence Intervals for Multiple
    Comparisons with the Best"). Only counts are known here, so the test of `mcnemar` is given the images that one of
    two networks gets right and the other wrong if their mistakes had nothing in common. Real networks share mistakes,
    and a comparison image by image sees smaller differences: it may separate what is tied here.

    Args:
        runs: of any data; those whose counts or data are not known are left out, and so is a run whose images no other
            was validated on.
    """
    groups: dict[str, list[tuple[int, int, int]]] = {}
    for place, run in enumerate(runs):
        found = counts(run.values)
        if found is not None and "fingerprint" in run.values:
            groups.setdefault(f"{run.values['fingerprint']} {found[1]}", []).append((place, *found))
    tied = set()
    for group in groups.values():
        if len(group) == 1:
            continue
        _, best, num_images = max(group, key=lambda entry: entry[1])
        for place, num_right, _ in group:
            only_best = round(best * (num_images - num_right) / num_images)
            only_this = round(num_right * (num_images - best) / num_images)
            p_value = _most_alike(only_best, only_this) * (len(group) - 1)
            if p_value >= 1 - CONFIDENCE_LEVEL:
                tied.add(place)
    return tied


def counts(values: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many validation images a listed run gets right, and of how many; None where it is not known."""
    num_images = values.get("num_validation")
    if not num_images or "accuracy" not in values:
        return None
    return values.get("num_validation_correct", round(values["accuracy"] * num_images)), num_images
