"""kilnet doctor."""

import typer

from kilnet.cli.options import JsonOption
from kilnet.cli.output import print_json, say, say_next
from kilnet.runs.wording import counted


def doctor(as_json: JsonOption = False) -> None:
    """Show facts about this machine, measure its speed, and list problems."""
    from dataclasses import asdict

    from kilnet.doctor import examine

    diagnosis = examine()
    if as_json:
        print_json(asdict(diagnosis))
    else:
        for name, fact in diagnosis.facts.items():
            say(f"{name:14} {fact}")
        for problem in diagnosis.problems:
            say(f"problem: {problem}")
        say(counted(len(diagnosis.problems), "problem") if diagnosis.problems else "nothing is wrong")
        if not diagnosis.problems:
            say_next("kilnet", "train", "digits", "--budget", "30s")
    if diagnosis.problems:
        raise typer.Exit(1)
