"""Results on standard output."""

import json
from typing import Any

import typer


def print_json(content: Any) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(content, ensure_ascii=False, allow_nan=False))


def print_rich(renderable: Any) -> None:
    """Print tables."""
    from rich.console import Console

    Console(highlight=False).print(renderable)
