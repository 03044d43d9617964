"""Messages of the library in the words of the command line."""

import ast
import io
import re
import shlex
from pathlib import Path

import pytest
import typer.main

import kilnet
from kilnet.cli import app
from kilnet.cli.messages import translated
from kilnet.recipes.reading import load_config, parse_settings
from kilnet.terminal.progress import ProgressDisplay

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


def commands_told():
    """Return every `kilnet VERB ...` that a text of the package tells people to type, as (module, words)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in texts(path):
            for words in re.findall(r"(?:`|next: )kilnet ([a-z][^`\n]*)", text):
                yield pytest.param(words, id=f"{path.stem}: {words[:40]}")


@pytest.mark.parametrize("words", list(commands_told()))
def test_a_command_that_is_told_exists_with_its_options(words):
    verb, *rest = words.split()
    options = {option for parameter in COMMANDS[verb].params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_what_is_filled_into_a_command_is_quoted_for_a_shell(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            for before, part in zip(node.values, node.values[1:], strict=False):
                text = before.value if isinstance(before, ast.Constant) else ""
                if re.search(r"kilnet [a-z]+ [^`]*$", text) and isinstance(part, ast.FormattedValue):
                    assert ast.unparse(part.value).startswith("shlex."), text


def test_progress_is_told_in_the_words_of_the_command_line(command, monkeypatch):
    def tell(word):
        with ProgressDisplay() as display:
            display.say("no pictures: gone; give `word`; or name the data as `data`; wait")
        return ()

    monkeypatch.setattr("kilnet.verbs.settings.list_settings", tell)
    _, _, err = command("settings", "x")
    assert err.splitlines()[0] == "no pictures: gone; give WORD; wait"
    with ProgressDisplay() as display:
        display.console.file = told = io.StringIO()
        display.console.stderr = False
        display.say("give `word`")
    assert told.getvalue() == "give `word`\n", "in Python it is an argument"


def test_only_one_file_of_the_command_line_prints():
    for path in (PACKAGE / "cli").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert path.name == "output.py" or not re.search(
            r"\b(echo|secho|print|stderr\.write|stdout\.write)\(", source
        ), path
