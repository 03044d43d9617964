"""Messages of the library in the words of the command line."""

import pytest
import typer.main

from kilnet.cli import app
from kilnet.cli.messages import translated

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize(
    ("verb", "message", "words"),
    [
        ("train", "`budget='10'`: write a time", "--budget 10: write a time"),
        ("train", "`out` is taken", "--out is taken"),
        ("train", "choose another `out`; wait", "choose another --out; wait"),
        ("train", "bad; use `data.image_size=9` or more", "bad; use --image-size 9 or more"),
        ("train", "bad; set `views.margin=0.5`", "bad; set --set views.margin=0.5"),
        ("finetune", "bad; use `data.image_size=9`", "bad; use --set data.image_size=9"),
        ("evaluate", "bad; use `data.image_size=9`; or wait", "bad; or wait"),
        ("evaluate", "`epochs=3`: too few; wait", "`epochs=3`: too few; wait"),
        ("evaluate", "`run='a b'`: none; give `run`", "'a b': none; give RUN"),
        ("tune", "`halving=False` is no choice; `halving=True`", "--no-halving is no choice; --halving"),
        ("train", "`kilnet.inspect_data('a b')` lists them", "`kilnet data 'a b'` lists them"),
        ("promote", "again: `kilnet.train(recipe='x.toml')`", "again: `kilnet train --recipe x.toml`"),
        ("train", "`a; b`.png; it's `broken", "`a; b`.png; it's `broken"),
        ("train", "no `config.toml` and no `net`", "no `config.toml` and no `net`"),
        ("train", "`model='a`b;c'`: cannot be imported", "--model 'a`b;c': cannot be imported"),
        ("train", "", ""),
    ],
)
def test_arguments_become_options(verb, message, words):
    assert translated(message, COMMANDS, verb) == words
