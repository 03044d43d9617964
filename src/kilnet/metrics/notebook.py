"""How results look in a notebook: small tables that need no style sheet, and data frames where pandas is there."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from kilnet.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame
else:
    DataFrame = Any  # importing pandas takes a second


def facts_html(title: str, facts: Mapping[str, str]) -> str:
    """Return names and values as an HTML table; all text is escaped, and in its own direction."""
    rows = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th><td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table><caption>{_text(title)}</caption><tbody>{rows}</tbody></table>"


def evaluation_facts(evaluation: Any) -> dict[str, str]:
    """Return what a notebook shows of an `Evaluation`, which stands above this module."""
    if not evaluation.num_images:
        return {"accuracy": "no images"}
    counts = f"{evaluation.num_correct:,} of {evaluation.num_images:,} images right"
    bounds = interval(*evaluation.accuracy_interval)
    pairs = evaluation.most_confused(3)
    confused = "; ".join(f"{truth} taken for {predicted} ({count})" for truth, predicted, count in pairs)
    return {
        "accuracy": f"{evaluation.accuracy:.1%}, {counts}, 95% interval {bounds}",
        "macro recall": f"{evaluation.macro_recall:.1%}, {interval(*evaluation.macro_recall_interval)}",
        "loss": f"{evaluation.loss:.4f} nats per image",
        "calibration error": f"{evaluation.calibration_error:.1%}",
        "commonest class": f"{evaluation.majority_class}, {evaluation.majority_share:.1%} of the images",
        "most confused": confused or "nothing",
    }


def interval(low: float, high: float) -> str:
    """Return, for example, `71.0% to 72.8%`."""
    return f"{low:.1%} to {high:.1%}"


def data_frame(rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Return rows as a pandas DataFrame.

    Raises:
        InputError: pandas is not installed; nothing else in Kilnet needs it.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("a data frame needs pandas, which is not installed; `pip install pandas`") from None
    return pandas.DataFrame(rows)


def _text(text: str) -> str:
    return f"<bdi>{escape(text)}</bdi>"
