"""What the documents say must be so: links, commands, recipes, code."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from kilnet.cli import app
from kilnet.config import ModelConfig
from kilnet.models import build, complete
from kilnet.recipes.built_in import find
from kilnet.recipes.reading import load_config, parse_settings

ROOT = Path(__file__).parents[1]
PROGRAM = typer.main.get_command(app)
GENERATED = ROOT / "docs" / "cli.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
WRITTEN = [path for path in DOCUMENTS if path != GENERATED]


def read(path):
    return path.read_text(encoding="utf-8")


def blocks(text, *languages):
    """Return the fenced blocks of some languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language in languages]


def prose(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(text, program):
    """Return every call of a program in a block of shell, as words, without its comment."""
    lines = "\n".join(blocks(text, "sh", "console")).replace("\\\n", " ").splitlines()
    calls = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if program in line]
    return [call for call in calls if call and call[0] == program]


def anchors(text):
    """Return the fragments by which the headings of a page can be reached."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def script(name):
    """Return a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_is_what_make_docs_writes():
    make_cli = script("make_cli")
    assert read(GENERATED) == make_cli.page(), "out of date: make docs"


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_command_and_option_is_on_its_page_and_explained(name):
    section = read(GENERATED).split(f"## kilnet {name}\n")[1].split("\n## ")[0]
    for parameter in PROGRAM.commands[name].params:
        word = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]
        assert re.search(rf"^\| `{re.escape(word)}\b[^`]*` \| \w", section, re.MULTILINE), word
    assert f"`kilnet {name}" in read(ROOT / "README.md"), "missing in the README's table of commands"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(path))):
        if target.startswith("https://"):
            continue
        file, _, fragment = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), f"{path.name}: {target}"
        assert not fragment or fragment in anchors(read(there)), f"{path.name}: {target}"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_commands_can_be_given_as_they_are_written(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for _, verb, *words in commands(read(path), "kilnet"):
        context = PROGRAM.commands[verb].make_context(verb, list(words))  # fails as the command line would
        if verb == "train":
            given = context.params
            settings = parse_settings(given["settings"] or [])
            if given["model"]:
                settings["model.name"] = given["model"]
            config = load_config(given["recipe"], settings)
            if ":" not in config.model.name:
                complete(config.model)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_make_knows_what_the_documents_ask_it_for(path):
    targets = set(re.findall(r"^(\w[\w-]*):", read(ROOT / "Makefile"), re.MULTILINE))
    asked = [call[1] for call in commands(read(path), "make")]
    asked += re.findall(r"`make ([\w-]+)`", prose(read(path)))
    assert set(asked) <= targets


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    first, looking, network = blocks(read(ROOT / "README.md"), "python")
    recipe = read(find("digits")).replace("epochs = 30", "epochs = 1")
    (tmp_path / "digits").write_text(recipe)  # a file of that name comes first
    (tmp_path / "mynets.py").write_text(network)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    exec(compile(first, "README.md", "exec"), names)  # noqa: S102
    accuracy, predicted = capsys.readouterr().out.splitlines()
    Image.new("L", (20, 16)).save("cat.jpg")
    exec(compile(looking, "README.md", "exec"), names)  # noqa: S102
    assert 0 <= float(accuracy) <= 1
    assert re.fullmatch(r"\['\d'\]", predicted)
    model = build(ModelConfig(name="mynets:tiny", width=32), (1, 16, 16), 10, {"mynets:tiny"})
    assert sum(parameter.numel() for parameter in model.parameters()) == 32 * 10 + 16 * 32 * 10 + 10


def test_the_architecture_page_is_up_to_date_and_has_every_file():
    make_architecture = script("make_architecture")
    page = read(ROOT / "docs" / "architecture.md")
    assert page == make_architecture.page(), "out of date: make docs"
    layers, *sections = page.split("\n## ")
    told = {f"src/kilnet/{name}" for name in re.findall(r"^  (\w+\.py) +\S", layers, re.MULTILINE)}
    for section in sections:
        folder = section.splitlines()[0]
        files = re.findall(r"^\| `(\w+\.py)` \| \S", section, re.MULTILINE)
        told |= {f"src/kilnet/{folder}{name}" for name in files}
    package = ROOT / "src" / "kilnet"
    files = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py") if path.name[0] != "_"}
    assert told == files
