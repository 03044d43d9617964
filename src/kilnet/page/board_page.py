"""The board: listed runs and searches as a page, and the parts of it that change while trainings run."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kilnet.page.document import Live, Section, render, section_html
from kilnet.page.svg import Axis, Line, Scale, fitted_axis, line_chart, tag
from kilnet.runs.leaderboard import accuracy_interval, interval_text
from kilnet.runs.listing import REPORT, ListedRun
from kilnet.runs.wording import counted, duration, one_line

MEASURES = {
    "validation_accuracy": "validation accuracy (%)",
    "validation_loss": "validation loss (nats)",
    "train_loss": "training loss (nats)",
}
"""What curves may be of: columns of history.csv, and what the axis says."""
MAX_CURVES = 40
_COLOURS = 8
_COLUMNS = (
    ("", "tick", ""),
    ("run", "path", ""),
    ("accuracy", "accuracy", "number"),
    ("95%", "interval", "number minor"),
    ("", "picture", ""),
    ("tied", "tied", "minor"),
    ("test", "test.accuracy", "number minor"),
    ("model", "model", "minor"),
    ("data", "data", "minor"),
)
_LAST = (
    ("epochs", "epochs", "number minor"),
    ("time", "seconds", "number minor"),
    ("status", "status", "minor"),
    ("report", "report", "minor"),
    ("", "delete", ""),
)
_UNSORTED = ("tick", "interval", "picture", "tied", "report", "delete")


def board_page(name: str, token: str) -> str:
    """Return the page, which asks for its runs when it is opened.

    Args:
        name: of the folder that is listed.
        token: what the page sends with a deletion, so that no other page can ask for one.
    """
    sections = [
        Section("runs", "Runs", "board_runs", {}, {"token": token}),
        Section("curves", "Learning curves", "board_curves", {"measures": MEASURES}),
        Section("comparison", "Comparison", "board_comparison", {}),
    ]
    note = "This page comes from this machine, follows its runs, and asks nobody else."
    return render(name, "Runs and searches", sections, live=Live("", "board.js", note))


def leaderboard(
    runs: Sequence[ListedRun],
    ids: Sequence[str],
    labels: Sequence[str],
    tied: Collection[int],
    running: Collection[int],
    keys: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the table as HTML: its head and its rows by id, each escaped, and a version that changes with them.

    Args:
        runs: in their order.
        ids: by which the page's requests name them.
        labels: what they are called on the page.
        tied, running: places of runs that may be the best of their data, and that a process is writing.
        keys: values with a column of their own.
    """
    shown = {key for _, key, _ in (*_COLUMNS, *_LAST)}
    own = [(one_line(key), key, "number") for key in dict.fromkeys(keys) if key not in shown]
    columns = (*_COLUMNS, *own, *_LAST)
    bounds = [bound for run in runs for bound in accuracy_interval(run.values) or ()]
    across = Scale(min(bounds, default=0.0), max(bounds, default=1.0), 5, 115)
    rows = [
        (
            ids[place],
            section_html(
                Section(
                    "row",
                    "",
                    "board_row",
                    {
                        "id": ids[place],
                        "run": run,
                        "label": labels[place],
                        "tied": place in tied,
                        "status": "running" if place in running else run.values["status"],
                        "picture": _picture(run.values, across),
                        "interval": interval_text(run.values),
                        "own": [_shown(run.values.get(key)) for _, key, _ in own],
                        "seconds": duration(run.values["seconds"]) if "seconds" in run.values else "",
                        "has_report": (run.path / REPORT).is_file(),
                    },
                )
            ),
        )
        for place, run in enumerate(runs)
    ]
    heads = [
        {"title": title, "key": "" if key in _UNSORTED else key, "kind": kind, "label": _label(key)}
        for title, key, kind in columns
    ]
    head = section_html(Section("head", "", "board_head", {"heads": heads}))
    found = {"head": head, "rows": rows}
    return {**found, "version": hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]}


def curves(named: Mapping[str, Sequence[Mapping[str, str]]], measure: str) -> str:
    """Return the curves of runs on each other, with their legend, as HTML.

    Args:
        named: the rows of each history.csv by the name of the run.
        measure: one of `MEASURES`.
    """
    factor = 100 if measure == "validation_accuracy" else 1
    lines = {
        name: [(int(row["epoch"]), factor * float(row[measure])) for row in rows]
        for name, rows in named.items()
        if rows
    }
    if not lines:
        return section_html(Section("c", "", "board_curve_chart", {"chart": None, "keys": [], "axis": ""}))
    by_epoch: dict[int, list[tuple[float, str]]] = {}
    for name, points in lines.items():
        for epoch, value in points:
            by_epoch.setdefault(epoch, []).append((value, name))
    best = max if measure == "validation_accuracy" else min
    readings = []
    for epoch, there in sorted(by_epoch.items()):
        value, name = best(there)
        readings.append(
            (epoch, f"epoch {epoch}: {counted(len(there), 'run')}, best {value:.4g} ({one_line(name)})")
        )
    kinds = {name: _kind(place) for place, name in enumerate(lines)}
    axis = fitted_axis(
        MEASURES[measure],
        [value for points in lines.values() for _, value in points if value == value],
        0,
        100 if measure == "validation_accuracy" else None,
    )
    first, last = min(by_epoch), max(by_epoch)
    chart = line_chart(
        f"{MEASURES[measure]} by epoch of {counted(len(lines), 'run')}",
        Axis("epoch", first, max(last, first + 1), is_whole=True),
        axis,
        [Line(kinds[name], points) for name, points in lines.items()],
        readings=readings,
    )
    content = {
        "chart": chart,
        "keys": list(kinds.items()),
        "axis": f"axis from {axis.low:.3g} to {axis.high:.3g}, fitted to the data",
    }
    return section_html(Section("c", "", "board_curve_chart", content))


def comparison(found: Mapping[str, Any], shown: Sequence[str]) -> str:
    """Return a ranking of runs as HTML, with a paired test of every two, corrected for their number.

    Args:
        found: `RunRanking.to_dict()`.
        shown: what the runs are called on the page, in the order of the ranking.
    """
    names = dict(zip(found["runs"], shown, strict=True))
    best = found["runs"][0]
    against = {pair["second"]: pair for pair in found["pairs"] if pair["first"] == best}
    rows = [
        {
            "name": names[run],
            "accuracy": f"{accuracy:.2%}",
            "interval": f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}",
            "pair": _pair(against[run]) if run in against else None,
        }
        for run, accuracy, interval in zip(
            found["runs"], found["accuracies"], found["accuracy_intervals"], strict=True
        )
    ]
    pairs = sorted(found["pairs"], key=lambda pair: pair["p_value_holm"])
    content = {
        "rows": rows,
        "num_images": f"{found['num_images']:,}",
        "num_tests": counted(len(pairs), "comparison"),
        "pairs": [
            {"first": names[p["first"]], "second": names[p["second"]], **_pair(p)} for p in pairs[:500]
        ],
        "num_left_out": max(len(pairs) - 500, 0),
        "settings": {key: [_shown(value) for value in values] for key, values in found["settings"].items()},
    }
    return section_html(Section("c", "", "board_ranking", content))


def _pair(pair: Mapping[str, Any]) -> dict[str, Any]:
    low, high = (-100 * bound for bound in reversed(pair["interval"]))
    return {
        "behind": f"{-100 * pair['difference']:.2f}",
        "between": f"{low:.2f} to {high:.2f}",
        "p_value": f"{pair['p_value_holm']:.2g}",
        "is_clear": pair["is_clear"],
    }


def _kind(place: int) -> str:
    return f"run{place % _COLOURS}{' dashed' if place // _COLOURS % 2 else ''}"


def _label(key: str) -> str:
    return {"tick": "ticked", "picture": "accuracy with its interval", "delete": "delete"}.get(key, "")


def _picture(values: Mapping[str, Any], across: Scale) -> Markup | str:
    bounds = accuracy_interval(values)
    if bounds is None or "accuracy" not in values:
        return ""
    low, high = bounds
    title = f"{values['accuracy']:.1%}, 95% interval {low:.1%} to {high:.1%}"
    parts = [
        tag("line", class_="whisker", x1=across(low), x2=across(high), y1=8, y2=8),
        tag("circle", class_="spot", cx=across(values["accuracy"]), cy=8, r=4),
    ]
    return tag("svg", *parts, viewBox="0 0 120 16", role="img", aria_label=title)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))
