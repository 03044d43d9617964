"""Programs run in turn, each in a process of its own, and what is kept of them."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kilnet.storage import write_json


def run_json(command: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a program whose last line on standard output is a JSON object; return it with "wall_seconds"."""
    start = time.perf_counter()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    seconds = time.perf_counter() - start
    return {**json.loads(output.splitlines()[-1]), "wall_seconds": seconds}


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the file holds, or make it and keep it there: a benchmark that was stopped resumes."""
    if not path.exists():
        result = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result)
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def described(values: Sequence[float], form: str = ".1f") -> str:
    """Return mean, standard deviation and number of some values; one value has no deviation."""
    if len(values) == 1:
        return f"{values[0]:{form}} (n = 1)"
    return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}} (n = {len(values)})"
