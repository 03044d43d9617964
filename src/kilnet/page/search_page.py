"""The page of a search: its winner, its trials, what mattered, and which trials are as good as the best."""

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise
from statistics import median
from typing import Any

from kilnet.errors import InputError
from kilnet.metrics.classification import Evaluation
from kilnet.page.document import Section, render
from kilnet.page.run_sections import begun_with
from kilnet.page.svg import Axis, Line, bars, fitted_axis, line_chart, parallel_coordinates
from kilnet.page.without_paths import config_without_paths, environment_without_paths
from kilnet.runs.wording import accuracy_with_interval, counted
from kilnet.tuning.search_config import describe
from kilnet.tuning.summary import MIN_TRIALS, Summary, TrialRow


def search_page(summary: Summary, environment: Mapping[str, Any], evaluation: Evaluation | None) -> str:
    """Return a search's page as HTML.

    Args:
        summary: what the search has found, finished or not.
        environment: the environment in which it began.
        evaluation: of its winner on the test split, if there is one.

    Raises:
        InputError: no trial has an accuracy yet.
    """
    subtitle = search_subtitle(summary, environment)
    config = summary.config
    told = config.model_copy(update={"run": config_without_paths(config.run)})
    repeat = begun_with("search", told.to_toml(), environment_without_paths(environment))
    sections = [*search_sections(summary, evaluation), repeat]
    return render(summary.folder.resolve().name, subtitle, sections)


def search_subtitle(summary: Summary, environment: Mapping[str, Any]) -> str:
    """Return what was searched, and how far the search has come."""
    config = summary.config
    halving = ", in rungs" if config.halving else ""
    state = "" if summary.is_complete else "; not finished"
    data = environment.get("data", {}).get("name", "unknown data")
    return (
        f"{config.strategy} search{halving}: {len(summary.trials)} of {config.num_trials} trials of "
        f"{config.run.model.name} on {data}, "
        f"{summary.num_image_passes:,} images trained on{state}"
    )


def search_sections(summary: Summary, evaluation: Evaluation | None = None) -> list[Section]:
    """Return the sections of a search's page; arguments and errors are those of `search_page`."""
    scored = sorted((row for row in summary.trials if row.accuracy is not None), key=lambda row: row.number)
    if not scored:
        raise InputError("no trial of the search has an accuracy yet, so there is no page to write")
    alike = {final.number for final in summary.finals if final.is_tied} | {summary.winner or 0}
    keys = summary.config.parsed_space().keys
    return [
        _winner(summary, scored, evaluation),
        *([_finalists(summary)] if summary.finals else []),
        _table(summary.trials, keys, alike, summary.importance),
        *_curves(summary, alike),
        _history(scored, alike),
        *_importance(summary, len(scored)),
        _parallel(scored, keys, alike),
    ]


def _winner(summary: Summary, scored: Sequence[TrialRow], evaluation: Evaluation | None) -> Section:
    best = next(row for row in scored if row.number == summary.winner)
    content = {
        "best": best,
        "settings": {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in best.values.items()},
        "num_trials": len(scored),
        "test": accuracy_with_interval(evaluation) if evaluation else None,
        "num_finalists": len(summary.finals),
    }
    if summary.finals:
        first = summary.finals[0]
        content |= {
            "accuracy": first.accuracy.mean,
            "interval": _within(first.accuracy.low, first.accuracy.high),
            "method": f"over seeds and images, {counted(first.accuracy.num_seeds, 'seed')}",
            "caution": "The mean is over seeds that did not help to choose the trial. The validation images did help, "
            "so expect a little less on new images.",
            "alike": sorted(final.number for final in summary.finals[1:] if final.is_tied),
        }
    else:
        content |= {
            "accuracy": best.accuracy,
            "interval": best.accuracy_interval,
            "method": "Wilson, over images",
            "caution": "This is one training with one seed. The best of many trials is partly luck, so expect a little "
            "less on new images.",
            "alike": None,
        }
    return Section("result", "Result", "search_result", content)


def _finalists(summary: Summary) -> Section:
    values = {row.number: row.values for row in summary.trials}
    rows = []
    for final in summary.finals:
        low, high = _within(final.accuracy.low, final.accuracy.high)
        behind = final.behind
        cells = [
            _cell(final.number),
            _cell(describe(values[final.number])),
            _cell(final.accuracy.mean, "{:.2%}"),
            _cell(f"{low:.1%} to {high:.1%}"),
            _cell(behind and 100 * behind.mean, "{:.2f}"),
            _cell(behind and f"{100 * behind.low:.2f} to {100 * behind.high:.2f}"),
        ]
        rows.append({"cells": cells, "mark": final.is_tied})
    titles = ("trial", "settings", "mean accuracy", "95%", "behind the best (points)", "95% (points)")
    content = {
        "caption": f"The best trials, trained again with {counted(summary.finals[0].accuracy.num_seeds, 'seed')}",
        "hint": "Differences are paired by seed and validation image. Marked rows are not clearly worse than the best.",
        "sortable": False,
        "heads": [
            {"title": title, "kind": kind}
            for title, kind in zip(
                titles, ("number", "", "number", "number", "number minor", "number minor"), strict=True
            )
        ],
        "rows": rows,
    }
    return Section("finalists", "Finalists", "table", content)


def _history(scored: Sequence[TrialRow], indistinguishable: Collection[int]) -> Section:
    points = [(trial.number, 100 * (trial.accuracy or 0)) for trial in scored]
    values = [value for _, value in points]
    highest = list(zip((number for number, _ in points), accumulate(values, max), strict=True))
    room = max(0.05 * (max(values) - min(values)), 0.5)
    title = (
        f"Validation accuracy by trial, {min(values):.1f}% to {max(values):.1f}%; "
        "the table of trials lists the numbers."
    )
    chart = line_chart(
        title,
        Axis("trial", points[0][0], max(points[-1][0], points[0][0] + 1), is_whole=True),
        Axis("validation accuracy (%)", max(min(values) - room, 0), min(max(values) + room, 100)),
        [Line("soft", _steps(highest))],
        dots=[(number, value, number in indistinguishable) for number, value in points],
        readings=[
            (number, f"trial {number}: {value:.2f}%, best so far {best:.2f}%")
            for (number, value), (_, best) in zip(points, highest, strict=True)
        ],
    )
    return Section("history", "History", "search_history", {"chart": chart}, is_half=True)


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a curve that is level until the next point."""
    return sorted([*points, *((later[0], earlier[1]) for earlier, later in pairwise(points))])


def _curves(summary: Summary, alike: Collection[int]) -> list[Section]:
    """Return the validation accuracy of all trials by epoch, on each other; nothing where no epoch is known."""
    curves = {
        number: [(row.epoch, 100 * row.validation_accuracy) for row in history]
        for number, history in summary.histories.items()
        if history
    }
    if not curves:
        return []
    by_epoch: dict[int, list[tuple[float, int]]] = {}
    for number, points in curves.items():
        for epoch, accuracy in points:
            by_epoch.setdefault(epoch, []).append((accuracy, number))
    readings = []
    for epoch, there in sorted(by_epoch.items()):
        accuracy, number = max(there)
        middle = median(value for value, _ in there)
        readings.append(
            (
                epoch,
                f"epoch {epoch}: {counted(len(there), 'trial')}, best trial {number} with {accuracy:.1f}%, "
                f"median {middle:.1f}%",
            )
        )
    lines = [
        Line("second" if number in alike else "faint", curves[number])
        for number in sorted(curves, key=lambda number: (number in alike, number))
    ]
    first, last = min(by_epoch), max(by_epoch)
    axis = fitted_axis(
        "validation accuracy (%)", [value for line in lines for _, value in line.points], 0, 100
    )
    chart = line_chart(
        "Validation accuracy of all trials by epoch; the table of trials lists where each ended.",
        Axis("epoch", first, max(last, first + 1), is_whole=True),
        axis,
        lines,
        dots=[]
        if last > first
        else [(x, y, number in alike) for number, points in curves.items() for x, y in points],
        readings=readings,
    )
    content = {"chart": chart, "axis": f"axis from {axis.low:.3g} to {axis.high:.3g}, fitted to the data"}
    return [Section("curves", "Learning curves", "search_curves", content, is_half=True)]


def _importance(summary: Summary, num_scored: int) -> list[Section]:
    """Return what mattered with the range within which it is known; few trials know nothing of that."""
    title = "What mattered"
    if num_scored < MIN_TRIALS:
        why = f"What mattered cannot be told from {counted(num_scored, 'trial')}; it takes at least {MIN_TRIALS}."
        return [Section("importance", title, "search_importance", {"why": why, "chart": None}, is_half=True)]
    if not summary.importance:
        return []
    ranked = sorted(summary.importance.items(), key=lambda item: -item[1])
    ranges = {key: (100 * low, 100 * high) for key, (low, high) in summary.importance_range.items()}
    text = "Importance of each setting: " + ", ".join(
        f"{key} {value:.0%}" + (f" ({ranges[key][0]:.0f} to {ranges[key][1]:.0f}%)" if key in ranges else "")
        for key, value in ranked
    )
    label = "share of the differences in accuracy (%)"
    chart = bars(text, label, [(key, 100 * value) for key, value in ranked], ranges)
    return [Section("importance", title, "search_importance", {"why": None, "chart": chart}, is_half=True)]


def _parallel(scored: Sequence[TrialRow], keys: Sequence[str], indistinguishable: Collection[int]) -> Section:
    columns = {key: [trial.values.get(key) for trial in scored] for key in keys}
    columns["accuracy (%)"] = [round(100 * (trial.accuracy or 0), 2) for trial in scored]
    numbers = [trial.number for trial in scored]
    title = "Settings and accuracy of each trial as a line; the table of trials lists the numbers."
    marked = [number in indistinguishable for number in numbers]
    chart = parallel_coordinates(title, columns, numbers, marked)
    return Section("parallel", "Parallel coordinates", "search_parallel", {"chart": chart})


def _table(
    ranked: Sequence[TrialRow], keys: Sequence[str], alike: Collection[int], importance: Mapping[str, float]
) -> Section:
    """Return the trials by rank; settings by the last part of their key where no two end alike."""
    words = {key for key in keys if not all(_is_number(trial.values.get(key, 0)) for trial in ranked)}
    leaves = [key.rpartition(".")[2] for key in keys]
    short = {key: leaf if leaves.count(leaf) == 1 else key for key, leaf in zip(keys, leaves, strict=True)}
    # Long names may break at their underscores; a phone shows the settings that matter most.
    shown = set(sorted(keys, key=lambda key: -importance.get(key, 0))[:2])
    heads = [{"title": "trial", "kind": "number"}]
    for key in keys:
        kinds = [*(["number"] if key not in words else []), *(["minor"] if key not in shown else [])]
        heads.append({"title": short[key].replace("_", "_\u200b"), "kind": " ".join(kinds)})
    heads += [{"title": "accuracy", "kind": "number"}, {"title": "loss (nats)", "kind": "number minor"}]
    heads += [{"title": "epochs", "kind": "number minor"}, {"title": "status", "kind": "minor"}]
    heads.append({"title": "tied", "kind": ""})
    rows = []
    for trial in ranked:
        cells = [_cell(trial.number)]
        cells += [_cell(trial.values.get(key), "{}" if key in words else "{:.4g}") for key in keys]
        cells += [
            _cell(trial.accuracy, "{:.2%}"),
            _cell(trial.loss, "{:.4f}"),
            _cell(trial.num_epochs, "{:g}"),
        ]
        cells += [_cell(trial.status), _cell("yes" if trial.number in alike else "")]
        rows.append({"cells": cells, "mark": trial.number in alike})
    content = {
        "caption": f"{counted(len(ranked), 'trial')}, best first",
        "hint": "Choose a heading to sort by it. Marked rows are not clearly worse than the best: they are tied.",
        "sortable": True,
        "shown": 30,
        "heads": heads,
        "rows": rows,
    }
    return Section("trials", "Trials", "table", content)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, pattern: str = "{}") -> dict[str, str]:
    if value is None:
        return {"text": "–", "value": ""}
    return {"text": pattern.format(value), "value": str(value)}


def _within(low: float, high: float) -> tuple[float, float]:
    """Return an interval of accuracies, limited to 0 and 1."""
    return max(0.0, low), min(1.0, high)
