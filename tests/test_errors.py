"""Errors: what a program may catch, what the command line ends with, and the nearest word."""

import inspect

import pytest

from kilnet import errors
from kilnet.errors import InputError, InterruptedRunError, KilnetError, nearest

OWN = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_every_error_is_caught_by_its_base_and_has_the_exit_code_of_its_kind(kind):
    assert issubclass(kind, KilnetError)
    expected = 130 if kind is InterruptedRunError else 2 if issubclass(kind, InputError) else 1
    assert kind.exit_code == expected
    assert issubclass(kind, ValueError) == issubclass(
        kind, InputError
    )  # for callers who know only Python's own


def test_the_nearest_word_is_named_and_otherwise_all_of_them():
    choices = ["optimizer.lr", "training.epochs", "model.name"]
    assert nearest("optimiser.lr", choices) == "; did you mean optimizer.lr?"
    assert nearest("model.lr", choices) == "; did you mean optimizer.lr?", "the right name in another group"
    assert nearest("qqq", choices) == "; there are optimizer.lr, training.epochs, model.name"
