"""Sections on a search: its trials, what mattered, and which of them are as good as the best.

A trial is a mapping with

    number    int, unique
    values    what was searched, by dotted key: {"optimizer.lr": 0.01, "model.c1": 32}; any JSON-able value
    accuracy  float from 0 to 1 on the validation images, or None where the trial has none
    loss      float, nats an image, or None
    epochs    int, how many were trained
    status    str, such as "finished", "pruned" or "failed"
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from kilnet.errors import InputError
from kilnet.metrics import wilson_interval
from kilnet.reporting.page.build import Section
from kilnet.reporting.page.parallel import parallel_coordinates
from kilnet.reporting.page.svg import Axis, Line, bars, line_chart

Trial = Mapping[str, Any]


def search_sections(
    trials: Sequence[Trial],
    importance: Mapping[str, float],
    indistinguishable: Collection[int],
    num_validation: int,
) -> list[Section]:
    """Return the sections of a search's page.

    Args:
        trials: in the order in which they were begun; see the head of this file.
        importance: by dotted key, the part of the differences in accuracy that the setting explains.
        indistinguishable: numbers of the trials that cannot be told from the best one, the best among them.
        num_validation: images behind each accuracy.

    Raises:
        InputError: no trial has an accuracy.
    """
    scored = [trial for trial in trials if trial["accuracy"] is not None]
    if not scored:
        raise InputError("no trial of the search has an accuracy yet; there is nothing to report")
    best = max(scored, key=lambda trial: trial["accuracy"])
    keys = list(dict.fromkeys(key for trial in trials for key in trial["values"]))
    return [
        _best(best, scored, indistinguishable, num_validation),
        _history(scored, indistinguishable),
        *([_importance(importance)] if importance else []),
        _parallel(scored, keys, indistinguishable),
        _table(trials, keys, indistinguishable),
    ]


def _best(
    best: Trial, scored: Sequence[Trial], indistinguishable: Collection[int], num_validation: int
) -> Section:
    num_correct = round(best["accuracy"] * num_validation)
    alike = sorted(number for number in indistinguishable if number != best["number"])
    content = {
        "best": best,
        "settings": {key: _text(value) for key, value in best["values"].items()},
        "interval": wilson_interval(num_correct, num_validation),
        "num_validation": num_validation,
        "num_trials": len(scored),
        "alike": alike,
    }
    return Section("result", "Result", "search_result", content)


def _history(scored: Sequence[Trial], indistinguishable: Collection[int]) -> Section:
    points = [(trial["number"], 100 * trial["accuracy"]) for trial in scored]
    highest = [
        (number, max(value for _, value in points[: place + 1])) for place, (number, _) in enumerate(points)
    ]
    values = [value for _, value in points]
    room = max(0.05 * (max(values) - min(values)), 0.5)
    title = (
        f"Validation accuracy by trial, {min(values):.1f}% to {max(values):.1f}%; "
        "the table of trials has the numbers."
    )
    chart = line_chart(
        title,
        Axis("trial", points[0][0], max(points[-1][0], points[0][0] + 1)),
        Axis("validation accuracy (%)", max(min(values) - room, 0), min(max(values) + room, 100)),
        [Line("soft", _steps(highest))],
        dots=[
            (x, y, trial["number"] in indistinguishable) for (x, y), trial in zip(points, scored, strict=True)
        ],
    )
    return Section("history", "History", "search_history", {"chart": chart})


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a curve that stays level until the next point."""
    corners = [(later[0], earlier[1]) for earlier, later in pairwise(points)]
    return sorted([*points, *corners])


def _importance(importance: Mapping[str, float]) -> Section:
    ranked = sorted(importance.items(), key=lambda item: -item[1])
    title = "Importance of each setting: " + ", ".join(f"{key} {value:.0%}" for key, value in ranked)
    content = {
        "chart": bars(title, "part of the differences in accuracy (%)", [(k, 100 * v) for k, v in ranked])
    }
    return Section("importance", "What mattered", "search_importance", content)


def _parallel(scored: Sequence[Trial], keys: Sequence[str], indistinguishable: Collection[int]) -> Section:
    columns = {key: [trial["values"].get(key) for trial in scored] for key in keys}
    columns["accuracy (%)"] = [round(100 * trial["accuracy"], 2) for trial in scored]
    numbers = [trial["number"] for trial in scored]
    chart = parallel_coordinates(
        "Every trial's settings and accuracy as a line; the table of trials has the numbers.",
        columns,
        numbers,
        [number in indistinguishable for number in numbers],
    )
    return Section("parallel", "Parallel coordinates", "search_parallel", {"chart": chart})


def _table(trials: Sequence[Trial], keys: Sequence[str], indistinguishable: Collection[int]) -> Section:
    numeric = {key for key in keys if all(_is_number(trial["values"].get(key, 0)) for trial in trials)}
    heads = [{"title": "trial", "kind": "number"}]
    heads += [{"title": key, "kind": "number" if key in numeric else ""} for key in keys]
    heads += [{"title": title, "kind": "number"} for title in ("accuracy", "loss (nats)", "epochs")]
    heads += [{"title": "status", "kind": ""}, {"title": "like the best", "kind": ""}]
    rows = []
    for trial in trials:
        alike = trial["number"] in indistinguishable
        cells = [_cell(trial["number"], "{}")]
        cells += [_cell(trial["values"].get(key), "{:.4g}" if key in numeric else "{}") for key in keys]
        cells += [
            _cell(trial["accuracy"], "{:.2%}"),
            _cell(trial["loss"], "{:.4f}"),
            _cell(trial["epochs"], "{}"),
        ]
        cells += [_cell(trial["status"], "{}"), _cell("yes" if alike else "", "{}")]
        rows.append({"cells": cells, "mark": alike})
    hint = "Choose a heading to sort by it. Marked rows cannot be told from the best."
    content = {
        "caption": f"{len(trials)} trials",
        "hint": hint,
        "sortable": True,
        "heads": heads,
        "rows": rows,
    }
    return Section("trials", "Trials", "table", content)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, pattern: str) -> dict[str, str]:
    if value is None:
        return {"text": "–", "value": ""}
    return {"text": pattern.format(value), "value": str(value)}
