"""Kilnet: train, tune and understand small image classifiers.

    import kilnet
    run = kilnet.train("cifar10", model="ConfigNet", epochs=10)
    print(kilnet.evaluate(run).accuracy)
    print(kilnet.load(run)("cat.jpg").label)

The public names stand in `__init__.pyi`. Each is imported when it is first used, so that `import kilnet` and
the help of the command line do not wait for torch.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

_HOMES = {
    name.name: statement.module
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(statement, ast.ImportFrom) and statement.module
    for name in statement.names
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kilnet' has no attribute {name!r}")
    if _HOMES[name] == "kilnet":
        return import_module(f"kilnet.{name}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
