"""The program: its verbs, and every error as one line and an exit code.

Everything that needs torch is imported inside the verbs: `kilnet --help` must not wait for it.
"""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from kilnet.cli.output import OutputError, results_written, say
from kilnet.errors import KilnetError
from kilnet.runs.wording import WORDS

_COMPLETE = "_KILNET_COMPLETE"  # set by the functions that `kilnet --show-completion` prints
app = typer.Typer(
    help="Train, tune and understand small image classifiers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Verb(typer.core.TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        """Call the verb; `~` in its paths is the home folder, as the library has it."""
        from kilnet.storage import given_path  # not for --help

        ctx.params = {k: given_path(v) if isinstance(v, Path) else v for k, v in ctx.params.items()}
        return super().invoke(ctx)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"kilnet {version('kilnet')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


_VERBS = (
    "train evaluate tune finetune distill promote inspect review compare runs board report predict export serve data "
    "recipes settings doctor"
)
for _verb in _VERBS.split():  # in the order of the help
    app.command(_verb, cls=_Verb)(getattr(import_module(f"kilnet.cli.{_verb}"), _verb))


def main() -> NoReturn:
    """Run the command line; every error a user can meet is one line on standard error and an exit code."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where its cache lies is of no interest
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as `kilnet.hardware.use_huge_pages`, without torch
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what the terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):  # a path on standard input need not be text
        sys.stdin.reconfigure(errors="surrogateescape")
    sys.exit(_guarded(_run))


def _run() -> int:
    """Parse the words and call their verb.

    Not by typer's own `main`, which ends without a word at Ctrl-C, and with 1 where the reader of a pipe leaves.
    """
    words = sys.argv[1:]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    program: Any = typer.main.get_command(app)
    try:
        if instruction := os.environ.get(_COMPLETE):  # the shell asks what may follow
            from typer.completion import shell_complete

            return shell_complete(program, {}, "kilnet", _COMPLETE, instruction)
        with program.make_context("kilnet", words) as context:
            context.command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _guarded(command: Callable[[], int]) -> int:
    try:
        with _interruptible() as interruptions, results_written(), _in_options():
            return command()
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except Exception as error:
        # Compiled code makes an error of its own of an interruption.
        if interruptions and getattr(error, "exit_code", None) != 130:
            return _fail("interrupted", 130)
        return _told(error)


def _told(error: Exception) -> int:
    """Print an error that a user can meet, and return its exit code; any other is raised again."""
    if isinstance(error, KilnetError):
        return _fail(_in_our_words(str(error)), error.exit_code)
    if isinstance(error, typer.TyperException):
        message = error.format_message().rstrip(".")  # empty where the help has been printed instead
        return _fail(f"{message}; {_advice(error)}", error.exit_code) if message else error.exit_code
    if isinstance(error, OutputError):
        if error.reader_has_left:  # of a pipe; nothing is wrong
            return 0
        return _fail(f"cannot write to standard output: {error}", 1)
    raise error


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM be a KeyboardInterrupt within this context; within an import they do what they did before.

    There it could come out as any error, or be noted on standard error and forgotten. What fails afterwards where
    nobody can catch it, such as a callback of what was left half done, is not told. The list that is given gets the
    number of each signal that came.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    unraisable = sys.unraisablehook
    interruptions: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        at = frame
        while at is not None:
            if at.f_code.co_filename.startswith("<frozen importlib"):
                before[signal.Signals(number)](number, frame)
            at = at.f_back
        interruptions.append(number)
        raise KeyboardInterrupt

    def note(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            for number, handler in before.items():
                handler(number, None)
        if not interruptions:
            unraisable(lost)

    for number in before:
        signal.signal(number, interrupt)
    sys.unraisablehook = note
    try:
        yield interruptions
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if not interruptions:  # else the program ends, and nobody can see what fails on the way
            sys.unraisablehook = unraisable


@contextmanager
def _in_options() -> Iterator[None]:
    token = WORDS.set(_in_our_words)
    try:
        yield
    finally:
        WORDS.reset(token)


def _advice(error: typer.TyperException) -> str:
    """Return what to do about words that the program does not understand."""
    from kilnet.cli.messages import setting_meant

    option = getattr(error, "option_name", None)
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    program: Any = typer.main.get_command(app)
    if isinstance(option, str) and verb in program.commands:
        if meant := setting_meant(option, sys.argv[2:], program.commands[verb].params):
            return meant
        return f"see kilnet {verb} --help"
    return "see kilnet --help"


def _in_our_words(message: str) -> str:
    from kilnet.cli.messages import translated

    program: Any = typer.main.get_command(app)
    return translated(message, program.commands, sys.argv[1])


def _fail(message: str, exit_code: int) -> int:
    say(f"kilnet: {message}", error=True)
    return exit_code
