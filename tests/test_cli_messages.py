"""Messages of the library in the words of the command line."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer.main

import kilnet
from kilnet.cli import app
from kilnet.cli.messages import translated
from kilnet.recipes.reading import load_config, parse_settings

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
        ("promote", "again: `kilnet.train(recipe='x.toml')`", "again: kilnet train --recipe x.toml"),
        ("train", "`kilnet.train('d')` again", "`kilnet train d` again"),
        ("train", "`a; b`.png; it's `broken", "`a; b`.png; it's `broken"),
        ("train", "no `config.toml` and no `net`", "no `config.toml` and no `net`"),
        ("train", "`model='a`b;c'`: cannot be imported", "--model 'a`b;c': cannot be imported"),
        ("train", "", ""),
    ],
)
def test_arguments_become_options(verb, message, words):
    assert translated(message, COMMANDS, verb) == words


# --- the library's own messages

PACKAGE = Path(kilnet.__file__).parent
OUTSIDE = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "cli"]
# The page shows the command that repeats a run.
SHOWS_COMMANDS = {PACKAGE / "page" / "run_sections.py"}


def texts(path):
    """Return every string of a module, with XX for what an f-string fills in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "XX" for part in node.values]
            # A value that is filled in by its repr has quotes.
            yield re.sub(r"=XX(?=[`,)])", "='XX'", "".join(parts)).replace("(XX", "('XX'")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_names_its_options(path):
    found = [text for text in texts(path) if re.search(r"(?<![\w-])--[a-z]", text)]
    assert not found or path in SHOWS_COMMANDS


def advice():
    """Return every piece of a message that names an argument, as (module, clause)."""
    for path in OUTSIDE:
        for text in texts(path):
            for clause in text.split("; "):
                is_python_only = "`steps=" in clause  # of kilnet.plots, which no command calls
                if (
                    len(text.splitlines()) == 1
                    and not is_python_only
                    and re.search(r"`[a-z_.]+(=[^`]*)?`|`kilnet\.\w+\(", clause)
                ):
                    yield pytest.param(clause, id=f"{path.stem}: {clause[:40]}")


@pytest.mark.parametrize("clause", list(advice()))
def test_what_a_message_names_is_an_option_of_some_command(clause):
    told = [translated(f"wrong; {clause}", COMMANDS, verb) for verb in COMMANDS]
    followed = [words for words in told if words != "wrong" and not re.search(r"`[a-z_.]+=", words)]
    assert followed, "no command has these options"
    for words in followed:
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", words):
            verb = words.partition("`kilnet ")[2].split(" ")[0] or list(COMMANDS)[told.index(words)]
            assert option in {o for p in COMMANDS[verb].params for o in (*p.opts, *p.secondary_opts)}


def test_values_of_settings_are_written_as_set_reads_them():
    told = translated("wrong; use `views.margin=0.5`", COMMANDS, "train")
    words = shlex.split(told.partition("use --set ")[2])
    assert load_config(settings=parse_settings(words)).views.margin == 0.5
