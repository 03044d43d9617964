"""What each verb prints, on terminals and in pipes of several widths: nothing is broken or cut that has to be whole."""

import os
import re
import shutil
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from digits_words import DIGITS
from kilnet import cli

pytestmark = pytest.mark.usefixtures("no_figures")

WIDTHS = (60, 80, 120, 200)
ESCAPE = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|4[0-7]|9[0-7])(?:;\d+)*m")

# What is given to each verb; those that serve a page end here as soon as they have begun.
WORDS = {
    "data": ["data", "digits"],
    "evaluate": ["evaluate", "a", "--split", "val"],
    "compare": ["compare", "a", "b"],
    "compare-many": ["compare", "a", "b", "c"],
    "runs": ["runs", ".", "--sort", "accuracy", "--where", "lr>0"],
    "predict": ["predict", "a", "pictures", "--unsure"],
    "report-search": ["report", "search"],
    "promote": ["promote", "search", "0", "--out", "promoted"],
    "serve": ["serve", "a", "--port", "0"],
    "board": ["board", ".", "--port", "0"],
    "review": ["review", "a", "--port", "0"],
    "recipes": ["recipes"],
    "settings": ["settings", "flip"],
    "help": ["help"],
    "train": [*DIGITS, "--epochs", "2", "--out", "new"],
    "train-verbose": [*DIGITS, "--out", "new", "--verbose"],
    "finetune": ["finetune", "a", "--epochs", "1", "--out", "new"],
    "inspect": ["inspect", "a", "--count", "3"],
    "report": ["report", "a"],
    "doctor": ["doctor"],
    "help-verb": ["help", "train"],
    "data-doubles": ["data", "doubles"],
    "evaluate-unknown": ["evaluate", "a", "--unknown", "pictures"],
    "inspect-precision": ["inspect", "a", "--count", "3", "--precision", "0.5"],
    "export": ["export", "a", "--format", "torch"],
    "distill": ["distill", "a", "--epochs", "1", "--set", "model.widths=[4,4,4]", "--out", "new"],
    "train-folds": [*DIGITS, "--folds", "2", "--out", "new"],
    "tune": [
        "tune",
        *DIGITS[1:],
        "--space",
        "d1=0.1,0.2",
        "--finalists",
        "1",
        "--seeds",
        "1",
        "--out",
        "new",
    ],
}
PAGES = ("serve", "board", "review")
QUICK = ("data", "evaluate", "compare", "compare-many", "runs", "predict", "recipes", "settings", "train")


@pytest.fixture
def place(digit_runs, search, tmp_path, monkeypatch, quick_disk):
    """A folder with runs `a`, `b` and `c`, a search and pictures; the current one."""
    for name, source in {"a": "a", "b": "b", "c": "a"}.items():
        shutil.copytree(digit_runs / source, tmp_path / name)
    shutil.copytree(search.folder, tmp_path / "search")
    shutil.copytree(pictures_of(tmp_path), tmp_path / "pictures")
    doubles_in(tmp_path / "doubles")
    monkeypatch.chdir(tmp_path)
    listen = pytest.importorskip("kilnet.server.listen", reason="the extra `serve` is not installed")
    monkeypatch.setattr(listen, "run", lambda app, bound, started: started())
    return tmp_path


def pictures_of(folder):
    (folder / "source" / "deep").mkdir(parents=True)
    for name in ("one.png", "deep/a picture with a long name that somebody gave it.png"):
        Image.new("L", (8, 8), 90).save(folder / "source" / name)
    return folder / "source"


def doubles_in(folder):
    """Write pictures of two classes of which some are nearly the same as others."""
    random = np.random.default_rng(0)
    for name in ("a class with a long name", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            picture = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64))
            for quality in (95, 60)[: 1 + (number < 4)]:
                picture.save(folder / name / f"picture {number} at quality {quality}.jpg", quality=quality)


class Terminal:
    """A pseudo-terminal in place of standard output and error, read to its end."""

    def __init__(self):
        self.master, slave = os.openpty()
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.chunks = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                return
            if not chunk:
                return
            self.chunks.append(chunk)

    def text(self):
        self.stream.close()
        self.reader.join(10)
        os.close(self.master)
        return b"".join(self.chunks).decode().replace("\r\n", "\n")


def printed(words, mode, width, monkeypatch, capfd):
    """Call the command line; return what it wrote on both streams, on a terminal in the order of time."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "argv", ["kilnet", *words])
    if mode == "plain terminal":
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    capfd.readouterr()
    if mode == "pipe":
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert not done.value.code
        out, err = capfd.readouterr()
        return err + out
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal.stream)
        patch.setattr(sys, "stderr", terminal.stream)
        with pytest.raises(SystemExit) as done:
            cli.main()
    assert not done.value.code
    return terminal.text()


def lines_of(text):
    """Return what stays on the screen: of a line that was drawn again, the last."""
    return [ESCAPE.sub("", line).rpartition("\r")[2] for line in text.split("\n")]


def check(verb, mode, width, text):
    for line in lines_of(text):
        words = line.split()
        has_command = (
            line.startswith("next: ") or "`kilnet " in line
        )  # to be copied, so the terminal breaks it
        # In a pipe, which has no width, prose is one line each, and so are the entries of lists.
        is_plain = mode == "pipe" and (
            "  " not in line.strip() or verb in ("recipes", "settings", "doctor", "export", *PAGES)
        )
        fits = cell_len(line) <= width
        assert fits or has_command or is_plain or any(len(word) > width - 4 for word in words), line
        assert not re.search(r"\d…|…[\d%]", line), line
    plain = "\n".join(lines_of(text))
    if mode == "pipe":
        assert "\x1b" not in text
    if mode == "plain terminal":
        assert not COLOUR.search(text)
    if verb not in PAGES and not verb.startswith("help"):
        (following,) = (line for line in lines_of(text) if line.startswith("next: kilnet "))
        assert following == plain.strip().split("\n")[-1]


@pytest.mark.parametrize("verb", QUICK)
def test_what_a_verb_prints_fits_a_narrow_terminal(verb, place, monkeypatch, capfd):
    check(verb, "terminal", 60, printed(WORDS[verb], "terminal", 60, monkeypatch, capfd))


@pytest.mark.parametrize("verb", ["compare", "runs", "predict"])
def test_what_a_verb_prints_fits_a_pipe(verb, place, monkeypatch, capfd):
    check(verb, "pipe", 80, printed(WORDS[verb], "pipe", 80, monkeypatch, capfd))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["terminal", "plain terminal", "pipe"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verb", WORDS)
def test_what_any_verb_prints_fits_everywhere(verb, width, mode, place, monkeypatch, capfd):
    check(verb, mode, width, printed(WORDS[verb], mode, width, monkeypatch, capfd))


def test_with_lang_c_all_is_ascii(place, monkeypatch, capfd):
    monkeypatch.setenv("LC_ALL", "C")
    for verb, mode in (
        ("evaluate", "pipe"),
        ("runs", "terminal"),
        ("train", "terminal"),
        ("board", "pipe"),
        ("recipes", "terminal"),
        ("settings", "pipe"),
    ):
        check_ascii(verb, mode, monkeypatch, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["terminal", "pipe"])
@pytest.mark.parametrize(
    "verb", [verb for verb in WORDS if not verb.startswith("help")]
)  # as the stream takes it
def test_with_lang_c_all_that_any_verb_prints_is_ascii(verb, mode, place, monkeypatch, capfd):
    monkeypatch.setenv("LC_ALL", "C")
    check_ascii(verb, mode, monkeypatch, capfd)


def check_ascii(verb, mode, monkeypatch, capfd):
    text = printed(WORDS[verb], mode, 80, monkeypatch, capfd)
    assert text.isascii(), re.findall(r"[^\x00-\x7f].*", text)
    own = ESCAPE.sub("", text).replace("(?P<", "").replace("*?", "")  # of a pattern for groups
    assert "?" not in own, "a character with a form in ASCII has been lost"
    check(verb, mode, 80, text)
