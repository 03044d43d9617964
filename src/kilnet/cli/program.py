"""The program: its verbs, and every error as one line and an exit code.

Everything that needs torch is imported inside the verbs: `kilnet --help` must not wait for it.
"""

import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

import typer
import typer.main

from kilnet.errors import KilnetError

app = typer.Typer(
    help="Train, tune and understand small image classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS = "train evaluate tune finetune promote inspect compare report predict export serve data recipes settings doctor"
for _verb in _VERBS.split():  # in the order of the help
    app.command(_verb)(getattr(import_module(f"kilnet.cli.{_verb}"), _verb))


def main() -> NoReturn:
    """Run the command line; every error a user can meet is one line on standard error and an exit code."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as `kilnet.hardware.use_huge_pages`, without torch
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what the terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):  # a path on standard input need not be text
        sys.stdin.reconfigure(errors="surrogateescape")
    sys.exit(_guarded(lambda: app(standalone_mode=False)))


def _guarded(command: Callable[[], Any]) -> int:
    try:
        result = command()
    except KilnetError as error:
        return _fail(_in_our_words(str(error)), error.exit_code)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")  # empty where the help has been printed instead
        return _fail(f"{message}; see kilnet --help", error.exit_code) if message else error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of a pipe has left; nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _in_our_words(message: str) -> str:
    from kilnet.cli.messages import translated

    program: Any = typer.main.get_command(app)
    return translated(message, program.commands, sys.argv[1])


def _fail(message: str, exit_code: int) -> int:
    message = " ".join(message.splitlines())  # a path may hold line breaks
    print(f"kilnet: {message}", file=sys.stderr)  # noqa: T201
    return exit_code
