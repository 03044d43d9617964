"""The command line: parses, calls the public functions and prints."""

from kilnet.cli.program import app, main

__all__ = ["app", "main"]
