"""Which of many runs are wanted, and in what order: by any setting or metric."""

import fnmatch
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from kilnet.errors import InputError, nearest
from kilnet.runs.listing import ListedRun

_CONDITION = re.compile(r"\s*([\w.-]+)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LOW_IS_GOOD = ("loss", "seconds", "error", "loss_sum")


def matching(runs: Sequence[ListedRun], conditions: Sequence[str]) -> tuple[ListedRun, ...]:
    """Return the runs that meet all conditions.

    Args:
        runs: to choose from.
        conditions: such as `accuracy>0.9`, `optimizer.lr=0.01`, `model=Fast*`, `status!=finished`. A percentage such as
            90% is a number. A run that does not have the value meets only `!=`.

    Raises:
        InputError: a condition is none, or no run has the value.
    """
    tests = [_test(runs, condition) for condition in conditions]
    return tuple(run for run in runs if all(test(run) for test in tests))


def ordered(runs: Sequence[ListedRun], key: str, reverse: bool = False) -> tuple[ListedRun, ...]:
    """Return runs in the order of a value, the best first; those that do not have it come last.

    The best is the lowest loss, error or time, the first text of the alphabet, and the highest of all other numbers.

    Args:
        runs: to order.
        key: a setting or metric, or the last part of its name.
        reverse: the worst first.

    Raises:
        InputError: no run has the value.
    """
    name = whole_key(runs, key)
    having = [run for run in runs if _has(run, name)]
    are_numbers = all(_is_number(_value(run, name)) for run in having)
    highest_first = is_highest_first(runs, name)
    chosen = sorted(
        having,
        key=lambda run: _value(run, name) if are_numbers else str(_value(run, name)),
        reverse=highest_first is not reverse,
    )
    return (*chosen, *(run for run in runs if not _has(run, name)))


def is_highest_first(runs: Sequence[ListedRun], name: str) -> bool:
    """Return whether the best of a value is the highest."""
    having = [_value(run, name) for run in runs if _has(run, name)]
    return all(map(_is_number, having)) and name.rpartition(".")[2] not in _LOW_IS_GOOD


def whole_key(runs: Sequence[ListedRun], word: str) -> str:
    """Return the value that a word means: its name, or the last part of only one name.

    Raises:
        InputError: no run has such a value, or several end so.
    """
    if not runs or any(_has(run, word) for run in runs):
        return word
    known = dict.fromkeys(key for run in runs for key in run.to_dict())
    meant = [key for key in known if key.rpartition(".")[2] == word]
    if len(meant) > 1:
        raise InputError(f"{word} may be {' or '.join(meant)}; write the whole name")
    if not meant:
        raise InputError(f"no run has {word}{nearest(word, list(known))}")
    return meant[0]


def keys_in(runs: Sequence[ListedRun], conditions: Sequence[str]) -> list[str]:
    """Return what conditions are about, in their order."""
    found = (_CONDITION.fullmatch(condition) for condition in conditions)
    return [whole_key(runs, match[1]) for match in found if match]


def _test(runs: Sequence[ListedRun], condition: str) -> Callable[[ListedRun], bool]:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise InputError(
            f"`where={condition!r}`: write a condition as accuracy>0.9, optimizer.lr=0.01 or model=Fast*"
        )
    key, sign, text = whole_key(runs, match[1]), match[2], match[3]
    number = _number(text)
    if sign in _COMPARE:

        def holds(run: ListedRun) -> bool:
            value = _value(run, key)
            if value is None:
                return False
            if number is not None and _is_number(value):
                return _COMPARE[sign](value, number)
            return _COMPARE[sign](str(value), text)

        return holds

    def equals(run: ListedRun) -> bool:
        value = _value(run, key)
        if number is not None and _is_number(value):
            return bool(value == number)
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        return value is not None and fnmatch.fnmatchcase(shown, text)

    return (lambda run: not equals(run)) if sign == "!=" else equals


def _has(run: ListedRun, name: str) -> bool:
    return name in run.values or name in ("path", "kind")


def _value(run: ListedRun, name: str) -> Any:
    """Return what `to_dict` has by this name, without making all of it; None where it has nothing."""
    if name in run.values:
        return run.values[name]
    return {"path": str(run.path), "kind": run.kind}.get(name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
