"""The command line as a program: its help, its words, its exit codes and its pipes."""

import os
import re
import resource
import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from digits_words import DIGITS, one_object
from kilnet import cli
from kilnet.data import sources

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture
def kilnet(command):
    return command


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "train"),
        (["train"], "DATA"),
        (["train", "digits", "--bogus"], "--bogus"),
        (["train", "digits", "--epochs", "x"], "--epochs"),
    ],
)
def test_wrong_words_are_one_line(refusal, words, says):
    code, err = refusal(*words)
    assert code == 2
    assert says in err
    assert re.search(r"see kilnet (train )?--help", err)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["train", "digits", "--lr", "0.1"], "use --set optimizer.lr=0.1"),
        (["train", "digits", "--lr=0.1"], "use --set optimizer.lr=0.1"),
        (["tune", "digits", "--batch-size"], "use --set training.batch_size=VALUE"),
        (["train", "digits", "--shift-px", "2"], "use --set with one of augment.shift_px, views.shift_px"),
        (["train", "digits", "--fill", "a b"], "use --set 'augment.fill=a b'"),
        (["train", "digits", "--bogus", "2"], "see kilnet train --help"),
        (["evaluate", "runs/a", "--lr", "2"], "see kilnet evaluate --help"),
    ],
)
def test_an_option_that_is_a_setting_is_answered_with_how_to_set_it(refusal, words, advice):
    code, err = refusal(*words)
    assert code == 2
    assert err.endswith(f"; {advice}\n")


def test_version_and_help_of_a_verb(kilnet):
    assert kilnet("--version") == (0, f"kilnet {version('kilnet')}\n", "")
    code, out, err = kilnet("help", "train")
    assert (code, err) == (0, "")
    assert out == kilnet("train", "--help")[1]
    assert kilnet("help")[1] == kilnet("--help")[1]


def test_a_shell_gets_its_function(kilnet, monkeypatch):
    monkeypatch.setenv("_KILNET_COMPLETE", "source_zsh")
    code, out, _ = kilnet()
    assert code == 0
    assert "compdef _kilnet_completion kilnet" in out


def test_no_words_show_the_help(kilnet):
    code, out, err = kilnet()
    assert code == 2
    assert "evaluate" in out
    assert err == ""


def test_every_command_and_option_has_help():
    group = typer.main.get_command(cli.app)
    assert {"train", "evaluate", "data", "doctor"} <= group.commands.keys()
    for command in group.commands.values():
        assert command.help, command.name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{command.name} {parameter.name}"


def test_interruption_exits_with_130(kilnet, monkeypatch, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "load_digits", interrupt)
    code, _, err = kilnet(*DIGITS, "--out", tmp_path / "run")
    assert code == 130
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


# In processes of their own: the installed command, without pytest around it.

COMMAND = [sys.executable, "-m", "kilnet"]


@pytest.mark.parametrize("word", ["recipes", "settings"])
def test_lists_do_not_import_torch(word):
    code = f"import sys, atexit\nsys.argv = ['kilnet', '{word}']\n"
    code += "atexit.register(lambda: print('imported:', 'torch' in sys.modules))\n"
    code += "from kilnet.cli import main\nmain()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("imported: False\n")


def test_help_is_quick_and_does_not_import_torch():
    code = "import sys\nsys.argv = ['kilnet', '--help']\nimport atexit\n"
    code += "atexit.register(lambda: print('imported:', 'torch' in sys.modules, 'numpy' in sys.modules))\n"
    code += "from kilnet.cli import main\nmain()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "imported: False False" in done.stdout

    def cpu_seconds(*words):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    # Most of the time goes into what prints the help, on a fast machine and on a slow one.
    printer = [sys.executable, "-c", "import typer.rich_utils"]
    seconds = [(cpu_seconds(*COMMAND, "--help"), cpu_seconds(*printer)) for _ in range(5)]
    own, bare = map(min, zip(*seconds, strict=True))
    assert own < 1.75 * bare


def test_json_of_a_whole_process_is_one_object(tmp_path):
    done = subprocess.run(
        [*COMMAND, *DIGITS, "--json", "--out", tmp_path / "run"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert one_object(done.stdout)["num_epochs"] == 1


def test_error_of_a_whole_process_is_one_line():
    done = subprocess.run([*COMMAND, "train", "nothing"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("kilnet: nothing: no such folder")
    assert len(done.stderr.splitlines()) == 1


def test_reader_of_a_pipe_may_leave():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.stderr == ""
