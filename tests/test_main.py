"""The command from its first moment: Ctrl-C, closed streams, other libraries' warnings."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from digits_words import DIGITS

COMMAND = [sys.executable, "-m", "kilnet"]
# Runs a verb whose work is `code`, begun by the real program.
WITHIN = "import sys; sys.argv = ['kilnet', 'settings']; from kilnet.verbs import settings as verb\n{code}\n"
WITHIN += "from kilnet.__main__ import main; main()"


def interrupted(words, when, number, **options):
    """Start a command, send a signal once `when(process)` returns, and return code, standard error and seconds."""
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        when(process)
        pressed = time.monotonic()
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
        return process.returncode, err, time.monotonic() - pressed


def has_loaded(name):
    """Return a wait for the moment at which a process has mapped a library."""

    def wait(process):
        maps = f"/proc/{process.pid}/maps"
        while process.poll() is None:
            with open(maps) as lines:  # noqa: PTH123
                if any(name in line for line in lines):
                    return

    return wait


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("number", "library"),
    [
        (signal.SIGINT, "libtorch_cpu"),
        (signal.SIGINT, "libtorch_python"),
        (signal.SIGINT, "_multiarray_umath"),
        (signal.SIGTERM, "libtorch_python"),
    ],
)
def test_an_interruption_while_torch_is_imported_is_one_line(number, library, tmp_path):
    words = [*COMMAND, *DIGITS, "--out", tmp_path / "run"]
    code, err, seconds = interrupted(words, has_loaded(library), number)
    assert (code, err) == (130, "kilnet: interrupted\n")
    assert seconds < 3
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "code",
    [
        # While something is imported, before and after that, and where Python only notes an exception.
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
        "def work(word): __import__('antigravity_of_the_test')\nverb.list_settings = work",
        "def work(word): os.kill(os.getpid(), signal.SIGINT); __import__('time').sleep(9)\nverb.list_settings = work",
        "class Noted:\n    def __del__(self): os.kill(os.getpid(), signal.SIGINT); [0 for _ in range(9)]\n"
        "def work(word): Noted(); __import__('time').sleep(9)\nverb.list_settings = work",
        # Something was left half done, and fails where it is taken to pieces.
        "class Half:\n    def __del__(self): raise KeyError(1)\n"
        "def work(word): half = Half(); os.kill(os.getpid(), signal.SIGINT); __import__('time').sleep(9)\n"
        "verb.list_settings = work",
        # Compiled code makes another error of it.
        "def work(word):\n    try: os.kill(os.getpid(), signal.SIGINT); __import__('time').sleep(9)\n"
        "    except KeyboardInterrupt: raise ValueError('turned') from None\nverb.list_settings = work",
    ],
    ids=["before", "import", "work", "noted", "half", "turned"],
)
def test_an_interruption_at_any_moment_is_one_line(code, name, tmp_path):
    code = code.replace("SIGINT", name)
    (tmp_path / "antigravity_of_the_test.py").write_text(
        f"import os, signal\ntry:\n    os.kill(os.getpid(), signal.{name}); [0 for _ in range(9)]\n"
        "except KeyboardInterrupt: raise ImportError('numpy cannot be imported')\n"
    )
    if code.startswith("import"):
        program = (
            f"import builtins; from kilnet import __main__\nreal = builtins.__import__\n"
            f"def early(name, *rest):\n    if name == 'kilnet.cli':\n        {code}\n    return real(name, *rest)\n"
            "builtins.__import__ = early; __main__.main()"
        )
    else:
        program = WITHIN.format(code="import os, signal\n" + code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "kilnet: interrupted\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("error", "ending"),
    [("KeyboardInterrupt", (130, "interrupted")), ("KilnetError('broken')", (1, "broken"))],
)
def test_a_signal_while_the_program_ends_changes_nothing(error, ending, name):
    code = "import atexit, os, signal, time; from kilnet.errors import KilnetError\n"
    code += f"atexit.register(lambda: (os.kill(os.getpid(), signal.{name}), time.sleep(9)))\n"
    code += f"def work(word): raise {error}\nverb.list_settings = work"
    program = [sys.executable, "-c", WITHIN.format(code=code)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=8)
    assert (done.returncode, done.stderr) == (ending[0], f"kilnet: {ending[1]}\n")


def test_a_process_that_is_to_ignore_ctrl_c_ignores_it():
    program = "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    program += WITHIN.format(
        code="real = verb.list_settings\n"
        "def work(word): os.kill(os.getpid(), signal.SIGINT); return real(word)\nverb.list_settings = work"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Standard output and standard error that are full, closed or read by nobody. Python itself buffers them or does not.


@pytest.fixture(
    params=[pytest.param("", id="buffered"), pytest.param("1", id="unbuffered", marks=pytest.mark.slow)]
)
def shell(request, tmp_path):
    """Run words with redirections by a shell."""

    def run(words, redirections):
        command = " ".join([sys.executable, "-m", "kilnet", *map(str, words)])
        return subprocess.run(
            ["/bin/bash", "-c", f"{command} {redirections}; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": request.param},
            check=False,
        )

    return run


@pytest.mark.parametrize("words", [["--help"], ["settings"], ["settings", "--json"], ["train", "--help"]])
def test_a_reader_that_leaves_is_no_error(shell, words):
    done = shell(words, "| true")
    assert (done.returncode, done.stderr) == (0, "")
    done = shell(words, "| head -c 9")
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, "", 9)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("words", [["--help"], ["settings"], ["settings", "--json"]])
def test_results_that_cannot_be_written_are_an_error(shell, words):
    done = shell(words, ">/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "kilnet: cannot write to standard output: No space left on device\n",
    )
    done = shell(words, ">&-")
    assert (done.returncode, done.stderr) == (
        1,
        "kilnet: cannot write to standard output: Bad file descriptor\n",
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize(
    "redirections",
    [
        "2>/dev/full",
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in ("2>&-", "2>&1 >/dev/null | true", "<&- >&- 2>&-")
        ),
    ],
)
def test_nobody_need_hear_progress_and_errors(shell, redirections, tmp_path):
    done = shell(["recipes", "fats"], redirections)
    assert (done.returncode, done.stderr) == (2, "")
    done = shell([*DIGITS, "--out", "run"], redirections)
    assert (done.returncode, done.stderr) == (1 if ">&- 2" in redirections else 0, "")
    assert (tmp_path / "run" / "weights.safetensors").exists()
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 2, "it was trained to its end"


@pytest.mark.slow
def test_a_closed_standard_output_is_not_the_next_file_that_is_opened(shell, tmp_path):
    done = shell([*DIGITS, "--out", "run", "--json"], ">&-")
    assert done.returncode == 1
    for file in (tmp_path / "run").rglob("*.json"):
        json.loads(file.read_text())


def test_warnings_of_libraries_are_for_programmers():
    code = "import warnings\ndef work(word): warnings.warn('old', FutureWarning); return ()\nverb.list_settings = work"
    program = [sys.executable, "-c", WITHIN.format(code=code)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("kilnet: no setting has")
    program.insert(1, "-Wdefault")
    assert "FutureWarning: old" in subprocess.run(program, capture_output=True, text=True, check=False).stderr


@pytest.mark.slow
def test_where_nothing_can_be_kept_at_home_no_library_complains(digit_runs, tmp_path):
    run = shutil.copytree(digit_runs / "a", tmp_path / "run")
    kept_elsewhere = ("KILNET_CACHE", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in kept_elsewhere}
    environment["HOME"] = os.devnull
    for words in (["evaluate", run, "--json"], ["data", "digits", "--json"], ["inspect", run, "--json"]):
        done = subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, env=environment, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
