"""What the documents say must be so: links, commands, recipes, code."""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest
import typer.main
from PIL import Image

import kilnet
from kilnet.cli import app
from kilnet.config import ModelConfig
from kilnet.models import build, complete
from kilnet.recipes.built_in import find
from kilnet.recipes.reading import load_config, parse_settings

ROOT = Path(__file__).parents[1]
PROGRAM = typer.main.get_command(app)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MADE = ("architecture", "cli", "recipes", "settings")  # from code, each by docs/make_NAME.py
WRITTEN = [path for path in DOCUMENTS if path.stem not in {"architecture", "cli", "settings"}]


def read(path):
    return path.read_text(encoding="utf-8")


def blocks(text, *languages):
    """Return the fenced blocks of some languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language in languages]


def prose(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(text, program):
    """Return every call of a program in a block of shell, as words, without its comment and where its output goes."""
    lines = "\n".join(blocks(text, "sh", "console")).replace("\\\n", " ").splitlines()
    calls = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if program in line]
    return [list(takewhile(lambda word: word != ">", call)) for call in calls if call and call[0] == program]


def anchors(text):
    """Return the fragments by which the headings of a page can be reached."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    documented = re.findall(r"^::: (\S+)$", text, re.MULTILINE)  # the site makes headings of their names
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | {
        *documented
    }


def script(name):
    """Return a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MADE)
def test_pages_that_are_made_from_code_are_up_to_date(name):
    assert read(ROOT / "docs" / f"{name}.md") == script(f"make_{name}").page(), "out of date: make docs"


def test_the_chart_of_the_readme_is_up_to_date_and_its_figures_stand_in_the_results():
    chart, results = script("make_chart"), read(ROOT / "docs" / "results.md")
    assert read(chart.PAGE) == chart.page(), "out of date: make docs"
    for series in tomllib.loads(read(chart.FIGURES))["series"]:
        for point in series["points"]:
            assert f"{point['seconds']:,}" in results
            assert f"{point['accuracy']:g}" in results
            told = re.findall(r"[\d.]+%", point.get("words", ""))
            assert told in ([], [f"{point['accuracy']:.1f}%"])


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_command_and_option_is_on_its_page_and_explained(name):
    section = read(ROOT / "docs" / "cli.md").split(f"## kilnet {name}\n")[1].split("\n## ")[0]
    for parameter in PROGRAM.commands[name].params:
        word = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]
        assert re.search(rf"^\| `{re.escape(word)}\b[^`]*` \| \w", section, re.MULTILINE), word


def test_the_readme_is_short_and_has_an_example_of_every_verb():
    text = read(ROOT / "README.md")
    assert len(text.splitlines()) <= 150
    assert {verb for _, verb, *_ in commands(text, "kilnet")} == set(PROGRAM.commands)


def test_every_public_name_is_in_the_reference():
    documented = re.findall(r"^::: (\S+)$", read(ROOT / "docs" / "api.md"), re.MULTILINE)
    assert sorted(documented) == sorted(f"kilnet.{name}" for name in kilnet.__all__)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    program = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.glob("*.html"))
    assert {path.stem for path in pages} >= {"index", *(path.stem for path in (ROOT / "docs").glob("*.md"))}
    for name in kilnet.plots.__all__:
        assert f'id="kilnet.plots.{name}"' in read(tmp_path / "api.html")
    for path in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"']?([^\"' >]+)", read(path))
        assert loaded
        assert [url for url in loaded if url.startswith(("http", "//"))] == [], path.name


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


def test_the_python_of_the_documents_runs(tmp_path, monkeypatch, capsys):
    recipe = read(find("digits")).replace("epochs = 30", "epochs = 1")
    (tmp_path / "digits").write_text(recipe)  # a file of that name comes first
    monkeypatch.chdir(tmp_path)
    Image.new("L", (20, 16)).save("cat.jpg")
    names = {}
    printed = {}
    for page in ("README.md", "docs/inspection.md", "docs/use.md"):
        (program,) = blocks(read(ROOT / page), "python")
        exec(compile(program, page, "exec"), names)  # noqa: S102
        printed[page] = capsys.readouterr().out.splitlines()
    accuracy, predicted = printed["README.md"]
    assert 0 <= float(accuracy) <= 1
    assert re.fullmatch(r"\d \d+% (unsure)?", predicted)
    assert printed["docs/use.md"] == [predicted, predicted]
    assert (names["run"].folder / "report.html").is_file()


def test_the_network_of_the_documents_can_be_trained(tmp_path, monkeypatch):
    (program,) = blocks(read(ROOT / "docs" / "training.md"), "python")
    (tmp_path / "mynets.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    model = build(ModelConfig(name="mynets:tiny", width=32), (1, 16, 16), 10, {"mynets:tiny"})
    assert sum(parameter.numel() for parameter in model.parameters()) == 32 * 10 + 16 * 32 * 10 + 10


def test_the_architecture_page_has_every_file():
    page = read(ROOT / "docs" / "architecture.md")
    layers, *sections = page.split("\n## ")
    told = {f"src/kilnet/{name}" for name in re.findall(r"^  (\w+\.py) +\S", layers, re.MULTILINE)}
    for section in sections:
        folder = section.splitlines()[0]
        files = re.findall(r"^\| `(\w+\.py)` \| \S", section, re.MULTILINE)
        told |= {f"src/kilnet/{folder}{name}" for name in files}
    package = ROOT / "src" / "kilnet"
    files = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py") if path.name[0] != "_"}
    assert told == files
